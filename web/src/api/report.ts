// The scan report (schema warden.scan/v1), which /artifacts/{digest}/report
// serves as the scanner wrote it. internal/report/json.go defines it.
import type { At } from "./types";

export interface ReportTarget {
  path: string;
  digest: string;
  size: number;
  format: string;
  verdict: string;
  complete: boolean;
  truncated: boolean;
  counts: Record<string, number> | null;
  findings: { rule: string; severity: string; at: At; message: string; evidence: string }[] | null;
  statuses: { detector: string; state: string; error?: string }[] | null;
}

export interface Report {
  schema: string;
  tool: { name: string; version: string; rules: string };
  started: string;
  targets: ReportTarget[] | null;
}
