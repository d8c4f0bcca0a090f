// Keys of the console. They never act while somebody types or a dialog is open,
// and each has a way by pointer.

export interface Actions {
  go(page: "posture" | "assets" | "models" | "inbox" | "gateway" | "audit"): void;
  help(): void;
}

const pages = { p: "posture", m: "models", f: "inbox", s: "assets", w: "gateway", a: "audit" } as const;

const typing = (e: KeyboardEvent) =>
  e.target instanceof HTMLElement && (e.target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName));

function move(step: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")];
  if (rows.length === 0) return;
  const at = rows.findIndex((r) => r.contains(document.activeElement));
  const next = rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + step))];
  next?.querySelector<HTMLElement>("a, button")?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

export function listen(act: Actions): () => void {
  let pending = 0; // when g was pressed, milliseconds
  const on = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e) || document.querySelector("dialog[open]")) return;
    if (Date.now() - pending < 1500 && e.key in pages) {
      act.go(pages[e.key as keyof typeof pages]);
      pending = 0;
      e.preventDefault();
      return;
    }
    pending = 0;
    switch (e.key) {
      case "g":
        pending = Date.now();
        return;
      case "j":
        move(1);
        break;
      case "k":
        move(-1);
        break;
      case "o":
        if (document.activeElement instanceof HTMLElement && document.activeElement.closest("[data-row]")) document.activeElement.click();
        break;
      case "/":
        (document.querySelector<HTMLElement>("main [data-filter]") ?? document.querySelector<HTMLElement>("[data-search]"))?.focus();
        break;
      case "?":
        act.help();
        break;
      default:
        return;
    }
    e.preventDefault();
  };
  document.addEventListener("keydown", on);
  return () => document.removeEventListener("keydown", on);
}
