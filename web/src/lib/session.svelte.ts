import { call, get, problemOf, type Problem } from "../api/client";
import type { MeBody } from "../api/types";

// Session is who is signed in. The credential itself is a cookie that scripts
// cannot read.
class Session {
  me = $state<MeBody | null>(null);
  known = $state(false); // the server said whether somebody is signed in
  problem = $state<Problem | null>(null);

  async load(): Promise<void> {
    try {
      this.me = await get<MeBody>("/me");
      this.problem = null;
    } catch (e) {
      const p = problemOf(e);
      if (p.status === 401) this.me = null;
      this.problem = p.status === 401 || this.me ? null : p; // who is signed in keeps the page
    }
    this.known = true;
  }

  async begin(credential: { key: string } | { link: string }): Promise<void> {
    this.me = await call<MeBody>("POST", "/session", credential);
    this.known = true;
    this.problem = null;
  }

  async end(): Promise<void> {
    await call("DELETE", "/session");
    this.me = null;
  }

  may(action: string): boolean {
    return this.me?.may?.includes(action) ?? false;
  }
}

export const session = new Session();
