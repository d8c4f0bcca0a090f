package config

import (
	"context"
	"regexp"
	"strings"

	"github.com/modelwarden/warden/internal/source/notebook"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Shell reads command lines for what they download.
func Shell(_ context.Context, p string, lines []notebook.Line) Doc {
	var d Doc
	for _, l := range lines {
		d.Merge(shellLine(p, l.Text, l.Line))
	}
	return d
}

// words splits a command line; quotes hold words together.
func words(s string) []string {
	var out []string
	var b strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			in = true
			end := strings.IndexByte(s[i+1:], c)
			if end < 0 {
				end = len(s) - i - 1
			}
			b.WriteString(s[i+1 : i+1+end])
			i += end + 1
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
		case (c == ';' || c == '&' || c == '|') && (i == 0 || s[i-1] != '\\'):
			if in {
				out = append(out, b.String())
				b.Reset()
				in = false
			}
			if len(out) > 0 && out[len(out)-1] != ";" {
				out = append(out, ";")
			}
		default:
			in = true
			b.WriteByte(c)
		}
	}
	if in {
		out = append(out, b.String())
	}
	return out
}

var hubAddress = regexp.MustCompile(`https?://(?:huggingface\.co|hf\.co|hf-mirror\.com)/([A-Za-z0-9][\w.-]*/[\w.-]+)(?:/(?:resolve|blob|raw)/([^/\s"']+)/([^\s"'?]+))?`)

// shellLine reads one command line.
func shellLine(p, s string, line int) (d Doc) {
	if len(s) > 64<<10 {
		return d
	}
	ws := words(s)
	for i := range ws {
		rest := ws[i+1:]
		if k := indexOf(rest, ";"); k >= 0 {
			rest = rest[:k]
		}
		arg := func(n int) string {
			for _, w := range rest {
				if strings.HasPrefix(w, "-") {
					continue
				}
				if n == 0 {
					return w
				}
				n--
			}
			return ""
		}
		switch base := ws[i][strings.LastIndexByte(ws[i], '/')+1:]; base {
		case "huggingface-cli", "hf":
			if arg(0) == "download" {
				id, rev, kind := arg(1), "", sight.Model
				for k, w := range rest {
					if w == "--revision" && k+1 < len(rest) {
						rev = rest[k+1]
					}
					if w == "--repo-type" && k+1 < len(rest) && rest[k+1] == "dataset" || w == "--repo-type=dataset" {
						kind = sight.Dataset
					}
				}
				if kind == sight.Dataset {
					d.Sightings = append(d.Sightings, d.sight(p, kind, id, "huggingface", line, s))
				} else {
					d.model(p, "huggingface", id, rev, line, s)
				}
			}
		case "ollama":
			if c := arg(0); c == "pull" || c == "run" {
				d.model(p, "ollama", arg(1), "", line, s)
			}
		case "vllm":
			if arg(0) == "serve" {
				d.served(p, append([]string{"serve"}, rest[1:]...), "--model", "huggingface", line)
			}
		case "text-generation-launcher", "text-embeddings-router":
			d.served(p, rest, "--model-id", "huggingface", line)
		case "llama-server", "llama-cli":
			d.served(p, rest, "-hf|--hf-repo", "huggingface", line)
		case "spacy":
			if arg(0) == "download" {
				d.model(p, "spacy", arg(1), "", line, s)
			}
		case "vllm.entrypoints.openai.api_server":
			d.served(p, rest, "--model", "huggingface", line)
		case "sglang.launch_server":
			d.served(p, rest, "--model-path|--model", "huggingface", line)
		case "claude", "codex", "gemini", "aider", "cursor-agent":
			for _, w := range rest {
				if w == "--dangerously-skip-permissions" || w == "--yolo" || w == "--dangerously-bypass-approvals-and-sandbox" {
					a := d.sight(p, sight.Assistant, base, "", line, s)
					a.Flags = []sight.Flag{{Flag: "permission_bypass", At: place(p, line, s)}}
					d.Sightings = append(d.Sightings, a)
				}
			}
		case "git":
			continue
		}
	}
	for _, m := range hubAddress.FindAllStringSubmatch(s, 8) {
		switch org, _, _ := strings.Cut(m[1], "/"); org {
		case "docs", "spaces", "blog", "papers", "api", "join", "settings":
			continue
		case "datasets":
			rest := s[strings.Index(s, m[0])+len(m[0]):]
			name := strings.TrimPrefix(m[1], "datasets/")
			if r, ok := strings.CutPrefix(rest, "/"); ok {
				end := strings.IndexAny(r, "/ \"'?")
				if end < 0 {
					end = len(r)
				}
				name += "/" + r[:end]
			}
			d.Sightings = append(d.Sightings, d.sight(p, sight.Dataset, name, "huggingface", line, s))
			continue
		}
		d.model(p, "huggingface", strings.TrimSuffix(m[1], ".git"), m[2], line, s)
	}
	return d
}

func indexOf(list []string, s string) int {
	for i, w := range list {
		if w == s {
			return i
		}
	}
	return -1
}
