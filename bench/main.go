//go:build unix

// Bench measures the program as its users meet it: quality on a labelled corpus,
// start-up, many small files, one huge file. It prints a table for
// docs/BENCHMARKS.md and judges nothing. Go benchmarks of single packages run
// beside it in make bench.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/report"
)

func main() {
	binary := flag.String("binary", "bin/warden", "program under test")
	corpus := flag.String("corpus", "", "labelled corpus: a folder with MANIFEST.tsv")
	generate := flag.String("generate", "", "only write the inputs of the speed runs into this folder")
	hash := flag.String("hash", "", "only hash the files of this folder")
	flag.Parse()
	if *hash != "" {
		if err := hashAll(*hash); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if *generate != "" {
		if err := inputs(*generate); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(*binary, *corpus); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(binary, corpus string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	fmt.Printf("%s, %d CPUs, %s\n\n", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if corpus != "" {
		if err := quality(binary, corpus); err != nil {
			return err
		}
	}
	return speed(binary)
}

// wilson returns the 95 % interval of k out of n (Wilson, 1927).
func wilson(k, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959964
	p, N := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*N)) / (1 + z*z/N)
	half := z * math.Sqrt(p*(1-p)/N+z*z/(4*N*N)) / (1 + z*z/N)
	return max(0, mid-half), min(1, mid+half)
}

type row struct{ label, grade, family string }

// quality scans the corpus and counts verdicts by label, grade and family.
func quality(binary, corpus string) error {
	text, err := os.ReadFile(filepath.Join(corpus, "MANIFEST.tsv"))
	if err != nil {
		fmt.Printf("no corpus: %v\n\n", err)
		return nil
	}
	rows := map[string]row{}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if f := strings.Split(line, "\t"); i > 0 && len(f) > 3 {
			rows[f[0]] = row{f[1], f[2], f[3]}
		}
	}
	out, err := output(exec.Command(binary, "scan", "--format", "json", corpus))
	if err != nil {
		return err
	}
	var doc report.Document
	if err := json.Unmarshal(out, &doc); err != nil {
		return err
	}
	counts, misses := map[row]map[string]int{}, []string{}
	for _, t := range doc.Targets {
		rel, err := filepath.Rel(corpus, t.Path)
		if err != nil {
			return err
		}
		r, ok := rows[filepath.ToSlash(rel)]
		if !ok {
			continue
		}
		if counts[r] == nil {
			counts[r] = map[string]int{}
		}
		counts[r][t.Verdict]++
		bad := t.Verdict == "malicious" || t.Verdict == "unsafe"
		if r.label == "benign" && bad || r.label == "malicious" && r.grade == "exec" && !bad || r.label == "robust" && t.Verdict == "clean" {
			misses = append(misses, fmt.Sprintf("%s %s: %s", r.label, rel, t.Verdict))
		}
	}
	var keys []row
	for r := range counts {
		keys = append(keys, r)
	}
	slices.SortFunc(keys, func(a, b row) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	fmt.Println("| label | grade | family | n | malicious or unsafe (95 % interval) | review | inconclusive | clean |\n|---|---|---|--:|---|--:|--:|--:|")
	for _, r := range keys {
		c := counts[r]
		n := c["malicious"] + c["unsafe"] + c["review"] + c["inconclusive"] + c["clean"]
		k := c["malicious"] + c["unsafe"]
		low, high := wilson(k, n)
		fmt.Printf("| %s | %s | %s | %d | %d (%.3f to %.3f) | %d | %d | %d |\n", r.label, r.grade, r.family, n, k, low, high, c["review"], c["inconclusive"], c["clean"])
	}
	fmt.Println()
	for _, m := range misses {
		fmt.Println("-", m)
	}
	fmt.Println()
	return nil
}

// output runs a command whose exit code may say that something was found.
func output(c *exec.Cmd) ([]byte, error) {
	out, err := c.Output()
	if ex := (*exec.ExitError)(nil); errors.As(err, &ex) && (ex.ExitCode() == 1 || ex.ExitCode() == 3) {
		err = nil
	}
	return out, err
}

type cost struct {
	wall, cpu time.Duration
	rss       int64 // bytes
}

const rounds = 7

// measure runs a command several times and returns medians.
func measure(binary string, args ...string) (cost, error) {
	var walls, cpus []time.Duration
	var out cost
	for range rounds {
		c := exec.Command(binary, args...)
		begin := time.Now()
		if _, err := output(c); err != nil {
			return out, fmt.Errorf("%v: %w", args, err)
		}
		walls = append(walls, time.Since(begin))
		cpus = append(cpus, c.ProcessState.UserTime()+c.ProcessState.SystemTime())
		if u, ok := c.ProcessState.SysUsage().(*syscall.Rusage); ok {
			out.rss = max(out.rss, u.Maxrss*1024)
		}
	}
	slices.Sort(walls)
	slices.Sort(cpus)
	out.wall, out.cpu = walls[rounds/2], cpus[rounds/2]
	return out, nil
}

// sparseSize is the size of the tensor in the sparse file, in bytes.
const sparseSize = 10 << 30

// inputs writes the files of the speed runs. It has a process of its own: the
// peak memory of a child counts what its parent held when it was started.
func inputs(dir string) error {
	put := func(name string, b []byte) error {
		name = filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, b, 0o600))
	}
	pickle := []byte("(dp0\nS'weight'\np1\n(lp2\nF0.5\naF1.5\nas.")
	err := errors.Join(put("one/m.pkl", pickle), os.MkdirAll(filepath.Join(dir, "empty"), 0o700))
	for i := range 1000 {
		err = errors.Join(err, put(fmt.Sprintf("many/m%04d.pkl", i), pickle))
	}
	const big = 524 << 20
	head := formattest.Safetensors(fmt.Sprintf(`{"a":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}`, sparseSize, sparseSize), nil)
	return errors.Join(err, put("big/m.pt", formattest.Zip(
		formattest.ZipEntry{Name: "m/data.pkl", Data: []byte("\x80\x02}.")},
		formattest.ZipEntry{Name: "m/data/0", Data: make([]byte, big)},
	)), put("sparse/m.safetensors", head), os.Truncate(filepath.Join(dir, "sparse", "m.safetensors"), int64(len(head))+sparseSize))
}

func speed(binary string) error {
	dir, err := os.MkdirTemp("", "warden-bench-*")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if text, err := exec.Command(self, "-generate", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("write inputs: %w: %s", err, text)
	}
	fmt.Println("| case | wall | CPU | peak memory |\n|---|--:|--:|--:|")
	for _, c := range []struct {
		name string
		args []string
	}{
		{"start: scan of an empty folder", []string{"scan", filepath.Join(dir, "empty")}},
		{"one small pickle", []string{"scan", filepath.Join(dir, "one")}},
		{"1,000 small pickles", []string{"scan", filepath.Join(dir, "many")}},
		{"524 MB torch zip, no digest", []string{"scan", "--digest", "never", filepath.Join(dir, "big")}},
		{"524 MB torch zip, with digest", []string{"scan", filepath.Join(dir, "big")}},
		{"10 GB sparse file, no digest", []string{"scan", "--digest", "never", filepath.Join(dir, "sparse")}},
	} {
		m, err := measure(binary, c.args...)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f ms | %.1f ms | %d MB |\n", c.name, float64(m.wall.Microseconds())/1000, float64(m.cpu.Microseconds())/1000, m.rss>>20)
	}
	fmt.Println()
	return signing(binary, dir)
}

// signed is the size of each of the two files that are signed, in bytes.
const signed = 1 << 30

// signing signs and verifies a model of two files, and compares the processor
// time with that of SHA-256 over the same bytes, by the program's own reader.
func signing(binary, dir string) error {
	model, key := filepath.Join(dir, "model"), filepath.Join(dir, "key")
	err := os.MkdirAll(model, 0o700)
	for _, name := range []string{"a.bin", "b.bin"} {
		f, cerr := os.Create(filepath.Join(model, name))
		if err = errors.Join(err, cerr); err != nil {
			return err
		}
		err = errors.Join(err, f.Truncate(signed), f.Close())
	}
	if err != nil {
		return err
	}
	if text, err := exec.Command(binary, "key", "generate", "--out", key).CombinedOutput(); err != nil {
		return fmt.Errorf("key: %w: %s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	sig := filepath.Join(dir, "model.sig")
	fmt.Printf("Signing and verifying 2 files of %d MiB, %d processors:\n\n| case | wall | CPU | peak memory |\n|---|--:|--:|--:|\n", signed>>20, runtime.NumCPU())
	for _, c := range []struct {
		name, program string
		args          []string
	}{
		{"SHA-256 alone, one after the other", self, []string{"-hash", model}},
		{"warden sign", binary, []string{"sign", model, "--signature", sig, "--key", key + ".key"}},
		{"warden verify", binary, []string{"verify", model, "--signature", sig, "--key", key + ".pub"}},
		{"warden sign, one processor", "env", []string{"GOMAXPROCS=1", binary, "sign", model, "--signature", sig, "--key", key + ".key"}},
		{"warden sign, blake3", binary, []string{"sign", model, "--signature", sig, "--key", key + ".key", "--hash", "blake3"}},
	} {
		m, err := measure(c.program, c.args...)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.2f s | %.2f s | %d MB |\n", c.name, m.wall.Seconds(), m.cpu.Seconds(), m.rss>>20)
	}
	return nil
}

// hashAll hashes the files of a folder, one after the other.
func hashAll(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for _, e := range list {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.CopyBuffer(h, struct{ io.Reader }{f}, buf)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Printf("%x\n", h.Sum(nil))
	}
	return nil
}
