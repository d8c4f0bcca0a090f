package openai_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/chat/openai"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Content that the upstream would have to fetch is refused, however it is spelt.
func TestRemoteContent(t *testing.T) {
	for part, ok := range map[string]bool{
		`{"type":"text","text":"see http://example.com"}`:                          true,
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}`:    true,
		`{"type":"image_url","image_url":null}`:                                    true,
		`{"type":"input_audio","input_audio":{"data":"aGk=","format":"wav"}}`:      true,
		`{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}`:       false,
		`{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}`:     false,
		`{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}`:            false,
		`{"type":"image_url","image_url":{"url":"data:,x","URL":"http://h"}}`:      false,
		`{"type":"image_url","image_url":{"u\u0072l":"http://h"}}`:                 false,
		`{"type":"image_url","image_url":{"url":7}}`:                               false,
		`{"type":"image_url","Image_URL":{"url":"http://h"}}`:                      false,
		`{"type":"image_url","image_url":"http://h"}`:                              false,
		`{"type":"image_url","image_url":["http://h"]}`:                            false,
		`{"type":"video_url","video_url":{"url":"http://h/a.mp4"}}`:                false,
		`{"type":"audio_url","audio_url":{"url":"ftp://h"}}`:                       false,
		`{"type":"image_url","image_ur\u006c":{"url":"http://169.254.169.254/x"}}`: false,
	} {
		_, err := openai.Decode([]byte(`{"model":"m","messages":[{"role":"user","content":[`+part+`]}]}`), wire.DefaultLimits())
		if (err == nil) != ok || err != nil && !errors.Is(err, openai.ErrRequest) {
			t.Errorf("%s: %v, want allowed %v", part, err, ok)
		}
	}
}

func TestUsageIsBounded(t *testing.T) {
	for body, want := range map[string]int64{
		`{"usage":{"prompt_tokens":5,"completion_tokens":7}}`:                                     12,
		`{"usage":{"prompt_tokens":-5,"completion_tokens":7}}`:                                    0,
		`{"usage":{"prompt_tokens":9007199254740993,"completion_tokens":7}}`:                      0,
		`{"usage":{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}}`: 0,
		`{"usage":{"prompt_tokens":1e3,"completion_tokens":7}}`:                                   0,
		`{"usage":null}`: 0,
		`{"usage":[`:     0,
	} {
		u, ok := openai.UsageOf([]byte(body))
		if got := u.Input + u.Output; got != want || ok != (want > 0) {
			t.Errorf("UsageOf(%s) = %v, %v", body, u, ok)
		}
	}
	if u, ok := openai.Usage([]byte(`{"prompt_tokens":1,"completion_tokens":2}`)); !ok || u.Output != 2 {
		t.Errorf("Usage = %v, %v", u, ok)
	}
	if _, ok := openai.Usage(nil); ok {
		t.Error("no usage gives some")
	}
}

// Values below Keep are checked as strictly as others, and counted.
func TestKeep(t *testing.T) {
	lim := wire.DefaultLimits()
	lim.Keep = 1
	d, err := wire.Parse([]byte(`{"a":[1,{"b":2}],"c":3}`), lim)
	if err != nil {
		t.Fatal(err)
	}
	if raw := string(d.Root().Get("a").Raw()); raw != `[1,{"b":2}]` {
		t.Errorf("a = %s", raw)
	}
	if n, ok := d.Root().Get("c").Int(); !ok || n != 3 {
		t.Errorf("c = %d, %v", n, ok)
	}
	for range d.Root().Get("a").Items() {
		t.Error("an item that was not kept is there")
	}
	for _, bad := range []string{`{"a":[1,]}`, `{"a":{"b":1,"b":2}}`, `{"a":["\ud800"]}`, `{"a":[` + strings.Repeat("0,", 100_000) + `0]}`} {
		if _, err := wire.Parse([]byte(bad), lim); err == nil {
			t.Errorf("%.40s is accepted", bad)
		}
	}
}
