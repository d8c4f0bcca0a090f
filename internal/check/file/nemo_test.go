package file

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/formattest"
)

// TestNeMo examines whole archives: configurations under any name, the checkpoint
// and names that lead out.
func TestNeMo(t *testing.T) {
	entry := func(name, data string) formattest.TarEntry {
		return formattest.TarEntry{Name: name, Data: []byte(data)}
	}
	honest := entry("./model_config.yaml", "target: nemo.collections.asr.models.EncDecCTCModel\nmodel:\n  loss: {target: ctc}\n  optim: {_target_: torch.optim.AdamW}\n")
	for name, tt := range map[string]struct {
		entries []formattest.TarEntry
		want    warden.Verdict
		rule    string
	}{
		"honest":              {nil, warden.Clean, ""},
		"honest_tokenizer":    {[]formattest.TarEntry{entry("./tokenizer/vocab.txt", "a\nb\n")}, warden.Clean, ""},
		"target":              {[]formattest.TarEntry{entry("./model_config.yaml", "target: os.system\n")}, warden.Malicious, "WDN-MF-087"},
		"target_of_a_part":    {[]formattest.TarEntry{entry("./other.yml", "decoder: {target: subprocess.Popen}\n")}, warden.Malicious, "WDN-MF-087"},
		"target_unknown":      {[]formattest.TarEntry{entry("./other.yaml", "decoder:\n  target: mine.run\n")}, warden.Unsafe, "WDN-MF-087"},
		"target_interpolated": {[]formattest.TarEntry{entry("./other.yaml", "decoder:\n  target: ${x}.system\n")}, warden.Inconclusive, "made of other values"},
		"hydra_elsewhere":     {[]formattest.TarEntry{entry("./conf/x.yaml", "a: {_target_: os.system}\n")}, warden.Malicious, "WDN-MF-087"},
		"tag":                 {[]formattest.TarEntry{entry("./x.yaml", "a: !!python/object/apply:os.system [id]\n")}, warden.Malicious, "WDN-MF-088"},
		"checkpoint":          {[]formattest.TarEntry{entry("./model_weights.ckpt", "cos\nsystem\n(S'id'\ntR.")}, warden.Malicious, "WDN-MF-001"},
		"traversal":           {[]formattest.TarEntry{entry("../../.ssh/authorized_keys", "key\n")}, warden.Unsafe, "WDN-MF-09"},
	} {
		entries := append([]formattest.TarEntry{honest}, tt.entries...)
		for form, b := range map[string][]byte{"plain": formattest.Tar(entries...), "gzip": formattest.Gzip(formattest.Tar(entries...))} {
			v, why := verdict(t.Context(), "m.nemo", b)
			if v != tt.want || !strings.Contains(strings.Join(why, "\n"), tt.rule) {
				t.Errorf("%s, %s: %s, want %s\n%s", name, form, v, tt.want, strings.Join(why, "\n"))
			}
		}
	}
}
