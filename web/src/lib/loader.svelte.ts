import { untrack } from "svelte";
import { get, problemOf, query, type Page, type Problem } from "../api/client";
import { session } from "./session.svelte";

function keep(e: unknown): Problem {
  const p = problemOf(e);
  if (p.status === 401) session.me = null; // the session ended: the login page follows
  return p;
}

// Loader holds the answer to one GET. What was there stays while it loads again.
export class Loader<T> {
  data = $state<T | null>(null);
  problem = $state<Problem | null>(null);
  busy = $state(false);
  private path = "";
  private abort: AbortController | null = null;

  // load may be called by an effect, which then depends on the arguments alone.
  load(path: string): void {
    untrack(() => void this.fetch(path));
  }

  private async fetch(path: string): Promise<void> {
    this.abort?.abort();
    const mine = new AbortController();
    this.abort = mine;
    if (path !== this.path) this.data = null;
    this.path = path;
    this.busy = true;
    try {
      const d = await get<T>(path, mine.signal);
      if (this.abort !== mine) return;
      this.data = d;
      this.problem = null;
    } catch (e) {
      if (mine.signal.aborted) return;
      this.problem = keep(e);
    }
    this.busy = false;
  }
}

// Rows holds a list that grows by cursor.
export class Rows<T> {
  items = $state.raw<T[]>([]);
  next = $state("");
  problem = $state<Problem | null>(null);
  busy = $state(false);
  loaded = $state(false);
  path = "";
  values: Record<string, string> = {};
  private abort: AbortController | null = null;

  // load begins the list anew. A list that only changed live keeps as many rows
  // as were seen.
  load(path: string, values: Record<string, string>): void {
    untrack(() => this.begin(path, values));
  }

  private begin(path: string, values: Record<string, string>): void {
    const key = path + query(values);
    const again = key === this.path + query(this.values) && this.loaded;
    const want = again ? Math.min(Math.max(this.items.length, 50), 1000) : 50;
    this.path = path;
    this.values = values;
    if (!again) {
      this.loaded = false;
      this.items = [];
      this.next = "";
    }
    void this.fetch("", want, () => []);
  }

  async more(): Promise<void> {
    if (this.next) await this.fetch(this.next, 50, () => this.items);
  }

  private async fetch(after: string, limit: number, before: () => T[]): Promise<void> {
    this.abort?.abort();
    const mine = new AbortController();
    this.abort = mine;
    this.busy = true;
    try {
      const p = await get<Page<T>>(this.path + query({ ...this.values, after, limit }), mine.signal);
      if (this.abort !== mine) return;
      this.items = [...before(), ...(p.items ?? [])];
      this.next = p.next;
      this.problem = null;
      this.loaded = true;
    } catch (e) {
      if (mine.signal.aborted) return;
      this.problem = keep(e);
    }
    this.busy = false;
  }
}
