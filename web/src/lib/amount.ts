// How times and money of the gateway are written.
import { number } from "./show";

// micros writes microseconds.
export function micros(us: number): string {
  if (us < 1000) return `${number(us)} µs`;
  if (us < 100_000) return `${(us / 1000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${number(Math.round(us / 1000))} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}

// money writes millionths of the currency.
export const money = (millionths: number) => (millionths / 1e6).toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 6 });
