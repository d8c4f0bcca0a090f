// A thin client of /api/v1: fetch, problems, cursors, abort, retry of GET.

export interface Problem {
  status: number;
  detail: string;
  code: string;
  hint: string;
}

// A Failure is an answer that is not the one asked for. Status 0 means that
// there was no answer.
export class Failure extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

export interface Page<T> {
  items: T[] | null;
  next: string;
}

const pauses = [300, 1000]; // milliseconds before GET is tried again

const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));

async function once(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const init: RequestInit = { method, credentials: "same-origin", headers: { Accept: "application/json" } };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.headers = { Accept: "application/json", "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  return fetch("/api/v1" + path, init);
}

async function failure(res: Response): Promise<Failure> {
  const p: Problem = { status: res.status, detail: `${res.status} ${res.statusText}`, code: "", hint: "" };
  try {
    const b = (await res.json()) as Partial<Problem> & { errors?: { message?: string; location?: string }[] };
    p.detail = b.detail || p.detail;
    p.code = b.code ?? "";
    p.hint = b.hint ?? "";
    for (const e of b.errors ?? []) p.detail += `; ${e.location ?? ""}: ${e.message ?? ""}`;
  } catch {
    // no JSON: the status line has to do
  }
  return new Failure(p);
}

export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    let res: Response;
    try {
      res = await once(method, path, body, signal);
    } catch (e) {
      if (signal?.aborted) throw e;
      const pause = method === "GET" ? pauses[attempt] : undefined;
      if (pause === undefined) {
        throw new Failure({ status: 0, detail: "the server does not answer", code: "unavailable", hint: "check that warden serve runs and the network reaches it, then try again" });
      }
      await sleep(pause);
      continue;
    }
    const pause = method === "GET" && (res.status === 502 || res.status === 503 || res.status === 504) ? pauses[attempt] : undefined;
    if (pause !== undefined) {
      await sleep(pause);
      continue;
    }
    if (!res.ok) throw await failure(res);
    if (res.status === 204) return undefined as T;
    return (await res.json()) as T;
  }
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal);

// query makes a query string of the values that are not empty.
export function query(values: Record<string, string | number | undefined>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(values)) if (v !== undefined && v !== "") q.set(k, String(v));
  const text = q.toString();
  return text ? "?" + text : "";
}

// every follows cursors until the end or until there are max items.
export async function every<T>(path: string, values: Record<string, string | undefined>, max: number): Promise<T[]> {
  const all: T[] = [];
  let after = "";
  do {
    const p: Page<T> = await get<Page<T>>(path + query({ ...values, limit: 500, after }));
    all.push(...(p.items ?? []));
    after = p.next;
  } while (after && all.length < max);
  return all.slice(0, max);
}

export function problemOf(e: unknown): Problem {
  if (e instanceof Failure) return e.problem;
  return { status: 0, detail: e instanceof Error ? e.message : String(e), code: "internal", hint: "reload the page" };
}
