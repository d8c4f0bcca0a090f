// Live follows /api/v1/events. Pages read version, which grows with each batch
// of changes, and load again. Only a page that is seen holds a stream: browsers
// open six connections to a server, and six forgotten tabs would take them all.

const gather = 250; // milliseconds in which changes count as one

class Live {
  version = $state(0);
  on = $state(false);
  since = $state<Date | null>(null); // when the stream was lost; null while on or before the first connection

  private wanted = false;
  private source: EventSource | null = null;
  private timer = 0;

  constructor() {
    document.addEventListener("visibilitychange", () => this.seen(document.visibilityState === "visible"));
    addEventListener("pagehide", () => this.seen(false));
    addEventListener("pageshow", () => this.seen(true));
  }

  private seen(yes: boolean): void {
    if (!yes) {
      this.close();
    } else if (this.wanted && !this.source) {
      this.open();
    }
  }

  start(): void {
    this.wanted = true;
    if (!this.source && document.visibilityState === "visible") this.open();
  }

  stop(): void {
    this.wanted = false;
    this.close();
    this.since = null;
  }

  private close(): void {
    this.source?.close();
    this.source = null;
    this.on = false;
  }

  private open(): void {
    const s = new EventSource("/api/v1/events");
    this.source = s;
    s.addEventListener("open", () => {
      this.bump(); // something may have happened since the page asked
      this.on = true;
      this.since = null;
    });
    s.addEventListener("state", () => this.bump());
    s.addEventListener("error", () => {
      if (this.on || !this.since) this.since = new Date();
      this.on = false;
      if (s.readyState === EventSource.CLOSED && this.source === s) {
        this.source = null; // an HTTP error ends the stream: the browser does not try again
        setTimeout(() => this.wanted && this.start(), 5000);
      }
    });
  }

  bump(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.version++, gather);
  }
}

export const live = new Live();
