// Export of a list as the API gives it. Times stay ISO.

function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement("a");
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const saveJSON = (name: string, value: unknown) => save(name, "application/json", JSON.stringify(value, null, 2) + "\n");

// flat writes nested objects as dotted columns.
function flat(value: object, prefix: string, out: Record<string, string>): void {
  for (const [k, v] of Object.entries(value)) {
    const name = prefix + k;
    if (v !== null && typeof v === "object" && !Array.isArray(v)) flat(v as object, name + ".", out);
    else out[name] = v === null || v === undefined ? "" : Array.isArray(v) ? JSON.stringify(v) : String(v);
  }
}

// cell quotes, and keeps spreadsheets from reading text as a formula.
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? "'" + text : text;
  return /[",\r\n]/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}

export function csv(rows: object[]): string {
  const flats = rows.map((r) => {
    const out: Record<string, string> = {};
    flat(r, "", out);
    return out;
  });
  const columns = [...new Set(flats.flatMap((f) => Object.keys(f)))];
  return [columns, ...flats.map((f) => columns.map((c) => f[c] ?? ""))].map((r) => r.map(cell).join(",")).join("\r\n") + "\r\n";
}

export const saveCSV = (name: string, rows: object[]) => save(name, "text/csv;charset=utf-8", csv(rows));
