// How values are written. Hostile text (names, messages, evidence) is never
// anything but text, and what it hides is made visible.

// hidden matches characters that change or hide how text is read: controls,
// bidirectional marks, zero-width characters, fillers, tags, lone surrogates.
const hidden =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]|\p{Cs}/gu;

export interface Piece {
  text: string;
  mark: boolean; // stands for a hidden character
}

const name = (c: string) => "U+" + (c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");

// pieces cuts text into what can be shown as it is and marks for what cannot.
// With lines, line ends and tabs stay.
export function pieces(text: string, lines = false): Piece[] {
  const out: Piece[] = [];
  let from = 0;
  for (const m of text.matchAll(hidden)) {
    if (lines && (m[0] === "\n" || m[0] === "\t")) continue;
    if (m.index > from) out.push({ text: text.slice(from, m.index), mark: false });
    out.push({ text: name(m[0]), mark: true });
    from = m.index + m[0].length;
  }
  if (from < text.length || out.length === 0) out.push({ text: text.slice(from), mark: false });
  return out;
}

// visible is pieces in one string, for titles and labels.
export const visible = (text: string) => text.replace(hidden, (c) => `⟨${name(c)}⟩`);

export const isTime = (iso: string | undefined) => !!iso && !iso.startsWith("0001-");

const full = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

export const localTime = (iso: string) => full.format(new Date(iso));
export const clockTime = (d: Date) => clock.format(d);
export const utc = (iso: string) => new Date(iso).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC");

const steps: [Intl.RelativeTimeFormatUnit, number][] = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 30],
  ["month", 12],
  ["year", Infinity],
];

export function age(iso: string, now: number): string {
  let n = Math.min(0, (new Date(iso).getTime() - now) / 1000);
  for (const [unit, size] of steps) {
    if (Math.abs(n) < size) return ago.format(Math.ceil(n), unit);
    n /= size;
  }
  return "";
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) {
    n /= 1024;
    i++;
  }
  return `${i === 0 ? n : n.toFixed(1)} ${units[i]}`;
}

const grouped = new Intl.NumberFormat();
export const number = (n: number) => grouped.format(n);

export const shortDigest = (d: string) => (d.startsWith("sha256:") ? "sha256:" + d.slice(7, 19) + "…" : d);

// place writes where a finding is: path and half-open range.
export function place(at: { path?: string; unit?: string; start?: number; end?: number }): string {
  if (!at.unit) return "";
  const { start = 0, end = 0 } = at;
  if (end - start <= 1) return `${at.unit} ${start}`;
  return `${at.unit}s ${start}–${end - 1}`;
}
