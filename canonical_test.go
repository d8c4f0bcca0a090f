package warden_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/modelwarden/warden"
)

// The cases are the examples of RFC 8785, sections 3.2.2 and 3.2.3.
func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{
			`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`,
			"{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
		},
		{
			`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji","\u0080":"Control","\u00f6":"o"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"o\",\"€\":\"Euro Sign\",\"😀\":\"Emoji\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		},
		{`[0,-0,1e-6,1e-7,123456789012345680000.0]`, `[0,0,0.000001,1e-7,123456789012345680000]`},
		{`{"a":"<&>"}`, `{"a":"<&>"}`},
	} {
		got, err := warden.Canonical(json.RawMessage(tt.in))
		if err != nil || string(got) != tt.want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", tt.in, got, err, tt.want)
		}
	}
	if _, err := warden.Canonical(json.RawMessage(`9007199254740993`)); !errors.Is(err, warden.ErrCanonical) {
		t.Errorf("integer beyond 2^53: error = %v, want ErrCanonical", err)
	}
}
