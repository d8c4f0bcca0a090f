import type { Place } from "../api/types";

// A piece of a text: what a rule fired on, or what lies between.
export interface Piece {
  text: string;
  place?: Place;
}

// marks cuts a text at the places of findings. Places count bytes of UTF-8; of
// two that overlap the later one has the rest.
export function marks(text: string, places: Place[]): Piece[] {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder();
  const out: Piece[] = [];
  let at = 0;
  const take = (end: number, place?: Place) => {
    if (end > at) out.push({ text: decoder.decode(bytes.subarray(at, end)), place });
    at = Math.max(at, end);
  };
  for (const p of [...places].sort((a, b) => a.start - b.start)) {
    take(Math.min(p.start, bytes.length));
    take(Math.min(p.end, bytes.length), p);
  }
  take(bytes.length);
  return out;
}
