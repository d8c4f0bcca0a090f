package sevenzip

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"testing"
	"testing/iotest"
)

// TestFilters undoes what liblzma 5.4 has done to instructions with targets, read
// at once and byte by byte.
func TestFilters(t *testing.T) {
	for _, tt := range []struct{ name, method, plain, filtered string }{
		{
			"arm", "03030501",
			"7c769fead86441ebc0e5bdebfbc85beace91cbeb1fc1b0eb6b44f1ea436dd7ebfe69bdeb8ceba6ea7d1decebb1b087eb",
			"7c769feadb6441ebc4e5bdebfbc85bead491cbeb26c1b0eb6b44f1ea4c6dd7eb086abdeb8ceba6ea891decebbeb087eb",
		},
		{
			"armt", "03030701",
			"6c07eef31afa39f5f0fb796134f306fbd0f45dfedb2824f2e3fa43f002fb0ac66ef255fca0f368fa",
			"6c07eef31dfa39f5f5fb796134f30efbd0f467fedb2824f2f0fa43f011fb0ac66ef267fca0f37cfa",
		},
		{
			"ppc", "03030205",
			"97cde3f0499335514b10d779f06d7d4c482c2d014ae3b78d9153376a4953e0c5492a65c1fc2d8943488567f94aa7a351",
			"97cde3f0499335554b10d781f06d7d4c482c2d114ae3b7a19153376a4953e0e1492a65e1fc2d8943488568214aa7a37d",
		},
		{
			"sparc", "03030805",
			"7fe692ef40006edb7feb40344008736c7fe7acb3402d7c277fe72d1d403d890e7fe86be84017a6a67ffd9890403c7c22",
			"7fe692ef40006edc7feb40364008736f7fe7acb7402d7c2c7fe72d23403d89157fe86bf04017a6af7ffd989a403c7c2d",
		},
		{
			"ia64", "03030401",
			"503264b4b414162cf39caf0ef8219551f21fa0f9ff1763f06784aa05e81c00531611f2bfb2970e583a1d2ad838d17f57f112a004ef950f8ca637a9c90843385b1804be5ddc5759604dcf2994201e5b571c365202d0146c70f74eae0b38a52f55",
			"503264b4b414162cf39caf0ef8219551f21fa0f9ff1763f86784aa05f81c00531611fabfb2970e683a1d2ad858d17f57f112a004ef950f8ca637a9c93843385b1804be5ddc5759604dcf2994601e5b571c365202d0146c70f74eae0b88a52f55",
		},
		{
			"x86", "03030103",
			"900d87f9ffe8a1cb0300907af60e00e87f56faff907a1bf3ffe86b2ef5ff9011fa0900e87109f2ff908530ffffe85b010600906c030000e89d290d00",
			"900d87f9ffe8abcb0300907af60e00e89356faff907a1bf3ffe8892ef5ff9011fa0900e89909f2ff908530ffffe88d010600906c030000e8d9290d00",
		},
		{
			"arm64", "0a",
			"c1260b9696b903907738a5c6510ffe95c3e700b07fd92d5f45a7c097cfd000f045cfed921aa1fe95e04303b01d288c47",
			"c1260b9696b903907738a5c6540ffe95c3e700b07fd92d5f4ba7c097cfd000f045cfed9223a1fe95e04303b01d288c47",
		},
	} {
		plain, _ := hex.DecodeString(tt.plain)
		changed, _ := hex.DecodeString(tt.filtered)
		for _, src := range []io.Reader{bytes.NewReader(changed), iotest.OneByteReader(bytes.NewReader(changed))} {
			r, ok := filtered(tt.method, nil, src)
			if !ok {
				t.Fatalf("%s: no filter", tt.name)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: %v\n got %x\nwant %x", tt.name, err, got, plain)
			}
		}
	}
}

// TestARM64 undoes a branch and a page address that were made absolute.
func TestARM64(t *testing.T) {
	var plain, changed []byte
	for i, v := range []uint32{0xd503201f, 0x94000010, 0x97fffff0, 0x90000001, 0xb0000002} {
		plain = binary.LittleEndian.AppendUint32(plain, v)
		switch pc := uint32(0x3000 + 4*i); {
		case v>>26 == 0x25:
			v = 0x94000000 | (v+pc>>2)&0x03ffffff
		case v == 0x90000001: // page 0 becomes page 3
			v |= 3 << 29
		case v == 0xb0000002: // page 1 becomes page 4
			v = v&^(3<<29) | 1<<5
		}
		changed = binary.LittleEndian.AppendUint32(changed, v)
	}
	r, ok := filtered("0a", []byte{0, 0x30, 0, 0}, bytes.NewReader(changed))
	if got, err := io.ReadAll(r); !ok || err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%v\n got %x\nwant %x", err, got, plain)
	}
}

func TestDelta(t *testing.T) {
	plain, changed := []byte{7, 10, 13, 16, 19, 22}, []byte{7, 10, 13, 9, 9, 9}
	r, ok := filtered(delta, []byte{2}, bytes.NewReader(changed))
	if got, err := io.ReadAll(r); !ok || err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%v: %v", got, err)
	}
	if _, ok := filtered(delta, nil, nil); ok {
		t.Error("a delta filter without a distance is accepted")
	}
}

func FuzzFilters(f *testing.F) {
	f.Add("0a", []byte{0, 0, 0, 0}, []byte{1, 2, 3, 0x94, 5, 6, 7, 0x90})
	f.Add("03030401", []byte{}, bytes.Repeat([]byte{0x16}, 40))
	f.Fuzz(func(t *testing.T, method string, props, b []byte) {
		whole, ok := filtered(method, props, bytes.NewReader(b))
		if !ok {
			return
		}
		single, _ := filtered(method, props, iotest.OneByteReader(bytes.NewReader(b)))
		one, _ := io.ReadAll(whole)
		two, _ := io.ReadAll(single)
		if !bytes.Equal(one, two) || len(one) != len(b) {
			t.Errorf("%x at once, %x byte by byte", one, two)
		}
	})
}
