package scan_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/scan"
)

func TestInspect(t *testing.T) {
	const hostile = "\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."
	outer := formattest.Zip(formattest.ZipEntry{Name: "archive/data.pkl", Data: []byte(hostile)}, formattest.ZipEntry{Name: "archive/version", Data: []byte("3\n")})
	in, err := scan.Inspect(t.Context(), "dir/model.pt", bytes.NewReader(outer), int64(len(outer)), scan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Members) != 3 || in.Cut || len(in.Unread) != 0 {
		t.Fatalf("%d members, cut %v, unread %v, want the archive and two", len(in.Members), in.Cut, in.Unread)
	}
	top, bad := in.Members[0], in.Members[1]
	if top.Verdict != warden.Malicious || top.Format != "torch-zip" || top.Depth != 0 {
		t.Errorf("archive: %v %s at depth %d, want malicious torch-zip: its verdict covers what it contains", top.Verdict, top.Format, top.Depth)
	}
	if in.Members[2].Verdict != warden.Clean || bad.Path != "model.pt!/archive/data.pkl" || bad.Depth != 1 {
		t.Errorf("members %+v", in.Members[1:])
	}
	var names []string
	for _, o := range bad.Opcodes {
		names = append(names, o.Name)
	}
	if got := strings.Join(names, " "); got != "PROTO GLOBAL BINUNICODE TUPLE1 REDUCE STOP" || !bad.OpcodesAll {
		t.Errorf("opcodes %s, all %v", got, bad.OpcodesAll)
	}
	if len(bad.Findings) == 0 || !strings.Contains(string(bad.Findings[0].Bytes), "posix") || bad.Findings[0].Offset != 0 {
		t.Errorf("findings %+v", bad.Findings)
	}
	if len(bad.Parts) < 3 || bad.Parts[2].Detail != "posix.system('id')" {
		t.Errorf("parts %+v", bad.Parts)
	}
}

func TestInspectBroken(t *testing.T) {
	for name, data := range map[string]string{
		"empty": "", "truncated_zip": "PK\x03\x04" + strings.Repeat("\x00", 20), "truncated_pickle": "\x80\x04\x95", "length_of_4_GB": "\x80\x04B\xff\xff\xff\xffx",
	} {
		in, err := scan.Inspect(t.Context(), name, strings.NewReader(data), int64(len(data)), scan.Options{})
		if err != nil || len(in.Members) != 1 {
			t.Errorf("%s: %d members, %v, want one", name, len(in.Members), err)
		}
	}
}
