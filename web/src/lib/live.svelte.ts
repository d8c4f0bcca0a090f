// Live follows /api/v1/events. Pages read version, which grows with each batch
// of changes, and load again.

const gather = 250; // milliseconds in which changes count as one

class Live {
  version = $state(0);
  on = $state(false);
  since = $state<Date | null>(null); // when the stream was lost; null while on or before the first connection

  private source: EventSource | null = null;
  private timer = 0;

  start(): void {
    if (this.source) return;
    const s = new EventSource("/api/v1/events");
    this.source = s;
    s.addEventListener("open", () => {
      if (this.since) this.bump(); // something may have happened meanwhile
      this.on = true;
      this.since = null;
    });
    s.addEventListener("state", () => this.bump());
    s.addEventListener("error", () => {
      if (this.on || !this.since) this.since = new Date();
      this.on = false;
      if (s.readyState === EventSource.CLOSED && this.source === s) {
        this.source = null; // an HTTP error ends the stream: the browser does not try again
        setTimeout(() => this.start(), 5000);
      }
    });
  }

  stop(): void {
    this.source?.close();
    this.source = null;
    this.on = false;
    this.since = null;
  }

  bump(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.version++, gather);
  }
}

export const live = new Live();
