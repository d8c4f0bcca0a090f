// Command inventory measures warden inventory: what it finds in labelled
// repositories, its call graphs against the micro-benchmark of PyCG, and how
// long it takes.
//
// The labels are files of schema warden.truth/v1; the repositories themselves
// are not part of the project: -trees names the folder that holds a checkout of
// each under the last part of its name. What is missing is said.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type truth struct {
	Repo     string   `json:"repo"`
	Commit   string   `json:"commit"`
	Complete []string `json:"complete_for"`
	FlagsFor []string `json:"flags_complete_for"`
	Assets   []struct {
		Kind      string   `json:"kind"`
		Name      string   `json:"name"`
		Aliases   []string `json:"aliases"`
		Providers []string `json:"providers"`
	} `json:"assets"`
	Flags []struct {
		Flag string `json:"flag"`
		Path string `json:"path"`
		Line int    `json:"line"`
	} `json:"flags"`
}

type document struct {
	Assets []struct {
		Kind     string `json:"kind"`
		Name     string `json:"name"`
		Provider string `json:"provider"`
		State    string `json:"state"`
		Scope    string `json:"scope"`
		Findings []struct {
			Flag     string `json:"flag"`
			Path     string `json:"path"`
			Line     int    `json:"line"`
			Severity string `json:"severity"`
		} `json:"findings"`
	} `json:"assets"`
	Summary struct {
		Files int   `json:"files"`
		Bytes int64 `json:"bytes"`
	} `json:"summary"`
}

func main() {
	binary := flag.String("binary", "bin/warden", "program to measure")
	trees := flag.String("trees", os.Getenv("WARDEN_TEST_TREES"), "folder with checkouts of the labelled repositories")
	shared := flag.String("truth", "../shared/data/inventory/truth,internal/inventory/testdata/truth", "folders with labels, a comma between")
	pycg := flag.String("pycg", "../shared/data/inventory/pycg-bench/micro.jsonl", "call-graph cases")
	flag.Parse()
	ctx := context.Background()
	if err := run(ctx, *binary, *trees, strings.Split(*shared, ","), *pycg); err != nil {
		fmt.Fprintln(os.Stderr, "bench/inventory:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, trees string, folders []string, pycg string) error {
	temp, err := os.MkdirTemp("", "bench-inventory-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	fmt.Println("| repository | kind | labelled | found | wrong | recall | precision |")
	fmt.Println("|---|---|--:|--:|--:|--:|--:|")
	var times []string
	for _, folder := range folders {
		names, err := filepath.Glob(filepath.Join(folder, "*.json"))
		if err != nil {
			return err
		}
		for _, name := range names {
			line, err := labelled(ctx, binary, trees, name, temp)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			times = append(times, line...)
		}
	}
	fmt.Println()
	for _, l := range times {
		fmt.Println(l)
	}
	return graphs(ctx, binary, pycg, temp)
}

// inventory runs the program over a folder.
func inventory(ctx context.Context, binary, dir, out string, more ...string) (*document, time.Duration, int64, error) {
	c := exec.CommandContext(ctx, binary, append([]string{"inventory", "--quiet", "--format", "json", "--output", out, dir}, more...)...)
	text, err := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != 0 && c.ProcessState.ExitCode() != 3 {
		return nil, 0, 0, fmt.Errorf("%w: %s", err, text)
	}
	b, err := os.ReadFile(filepath.Clean(out))
	if err != nil {
		return nil, 0, 0, err
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, 0, 0, err
	}
	cpu := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	return &d, cpu, maxRSS(c.ProcessState), nil
}

func canonical(s string) string {
	s = strings.TrimSuffix(strings.ToLower(s), ":latest")
	if s == "hf" || s == "huggingface-hub" {
		return "huggingface"
	}
	return s
}

func labelled(ctx context.Context, binary, trees, name, temp string) ([]string, error) {
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		return nil, err
	}
	var t truth
	if err := json.Unmarshal(b, &t); err != nil {
		return nil, err
	}
	dir := filepath.Join(trees, t.Repo[strings.LastIndexByte(t.Repo, '/')+1:])
	if !isDir(dir) || trees == "" {
		return []string{"not measured: " + t.Repo + " at " + t.Commit + " is not below -trees"}, nil
	}
	d, cpu, rss, err := inventory(ctx, binary, dir, filepath.Join(temp, "d.json"))
	if err != nil {
		return nil, err
	}
	var out []string
	for _, kind := range t.Complete {
		names := map[string]string{}
		labels := 0
		for _, a := range t.Assets {
			if a.Kind != kind {
				continue
			}
			labels++
			for _, n := range append([]string{a.Name}, a.Aliases...) {
				names[canonical(n)] = a.Name
			}
			for _, p := range a.Providers {
				names[strings.ToLower(p+"/"+a.Name)] = a.Name
			}
		}
		found, wrong := map[string]bool{}, []string{}
		for _, a := range d.Assets {
			if a.Kind != kind || a.Name == "" || a.State == "inactive" || a.State == "commented" {
				continue
			}
			if n, ok := names[canonical(a.Name)]; ok {
				found[n] = true
			} else if a.Scope != "test" && a.Scope != "docs" && !slices.Contains(wrong, a.Name) {
				wrong = append(wrong, a.Name)
			}
		}
		if labels+len(wrong) == 0 {
			continue
		}
		fmt.Printf("| %s | %s | %d | %d | %d | %s | %s |\n", t.Repo, kind, labels, len(found), len(wrong), share(len(found), labels), share(len(found), len(found)+len(wrong)))
		if len(wrong) > 0 {
			out = append(out, fmt.Sprintf("%s: wrong %s: %s", t.Repo, kind, strings.Join(wrong, ", ")))
		}
	}
	for _, want := range t.Flags {
		hit := false
		for _, a := range d.Assets {
			for _, f := range a.Findings {
				hit = hit || f.Flag == want.Flag && f.Path == want.Path && f.Line-want.Line <= 3 && want.Line-f.Line <= 3
			}
		}
		if !hit {
			out = append(out, fmt.Sprintf("%s: missed %s at %s:%d", t.Repo, want.Flag, want.Path, want.Line))
		}
	}
	return append(out, fmt.Sprintf("%s: %d flags labelled; %d files, %.2f MB, %.2f s of CPU, %d MiB at most", t.Repo, len(t.Flags), d.Summary.Files, float64(d.Summary.Bytes)/1e6, cpu.Seconds(), rss>>20)), nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func share(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.3f", float64(n)/float64(of))
}

// graphs compares call graphs with those of the cases.
func graphs(ctx context.Context, binary, name, temp string) error {
	b, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		fmt.Println("call graphs: not measured:", err)
		return nil
	}
	cases, exact, right, reported, expected := 0, 0, 0, 0, 0
	for line := range strings.Lines(string(b)) {
		var c struct {
			Case  string              `json:"case"`
			Files map[string]string   `json:"files"`
			Graph map[string][]string `json:"callgraph"`
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			return err
		}
		dir := filepath.Join(temp, fmt.Sprintf("case%d", cases))
		for p, text := range c.Files {
			p = filepath.Join(dir, filepath.FromSlash(p))
			if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(p, []byte(text), fs.FileMode(0o600)); err != nil {
				return err
			}
		}
		out := filepath.Join(temp, "graph.json")
		if _, _, _, err := inventory(ctx, binary, dir, filepath.Join(temp, "g.json"), "--callgraph", out); err != nil {
			return err
		}
		g, err := os.ReadFile(filepath.Clean(out))
		if err != nil {
			return err
		}
		var got map[string][]string
		if err := json.Unmarshal(g, &got); err != nil {
			return err
		}
		r, rep, exp := edges(got, c.Graph)
		right, reported, expected = right+r, reported+rep, expected+exp
		if r == rep && r == exp {
			exact++
		}
		cases++
	}
	fmt.Printf("\ncall graphs: %d cases, precision %s (%d of %d edges), recall %s (%d of %d), exact %d\n", cases, share(right, reported), right, reported, share(right, expected), right, expected, exact)
	return nil
}

func edges(got, want map[string][]string) (right, reported, expected int) {
	for from, l := range want {
		for _, to := range l {
			expected++
			if slices.Contains(got[from], to) {
				right++
			}
		}
	}
	for _, l := range got {
		reported += len(l)
	}
	return right, reported, expected
}
