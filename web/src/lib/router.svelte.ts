// The router keeps the whole view in the hash: #/segments?filters. Everything
// that changes what is seen goes through here, so that a copied URL shows the
// same rows.

class Router {
  hash = $state(location.hash);

  private parts = $derived.by(() => {
    const text = this.hash.replace(/^#\/?/, "");
    const cut = text.indexOf("?");
    return cut < 0 ? { path: text, query: "" } : { path: text.slice(0, cut), query: text.slice(cut + 1) };
  });

  segments = $derived(this.parts.path.split("/").filter((s) => s !== "").map(decode));
  query = $derived(new URLSearchParams(this.parts.query));

  constructor() {
    addEventListener("hashchange", () => (this.hash = location.hash));
  }

  go(to: string): void {
    if (location.hash === to) return;
    location.hash = to;
    this.hash = location.hash;
  }

  // replace changes the URL without a new entry in the history: for filters
  // while they are typed, and for secrets.
  replace(to: string): void {
    history.replaceState(null, "", to);
    this.hash = to;
  }

  // set changes query values of the current page; empty values are left out.
  set(values: Record<string, string>): void {
    this.replace(href(this.segments, { ...Object.fromEntries(this.query), ...values }));
  }

  text(name: string): string {
    return this.query.get(name) ?? "";
  }
}

function decode(s: string): string {
  try {
    return decodeURIComponent(s);
  } catch {
    return s;
  }
}

// encode leaves the colon of digests readable.
const encode = (s: string) => encodeURIComponent(s).replaceAll("%3A", ":");

export function href(segments: string[], values: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(values)) if (v) q.set(k, v);
  const text = q.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  return "#/" + segments.map(encode).join("/") + (text ? "?" + text : "");
}

export const modelHref = (name: string) => href(["models", ...name.split("/")]);
export const artifactHref = (digest: string) => href(["artifacts", digest]);

// refHref returns where a kind:id is shown, or "" if nowhere.
export function refHref(ref: string): string {
  const cut = ref.indexOf(":");
  const kind = ref.slice(0, cut);
  const id = ref.slice(cut + 1);
  switch (kind) {
    case "artifact":
      return artifactHref(id);
    case "model":
      return /^[^/]+\/[^/]+$/.test(id) ? modelHref(id) : "";
    case "route":
      return href(["gateway", "routes"], { route: id });
    default:
      return "";
  }
}

export const router = new Router();
