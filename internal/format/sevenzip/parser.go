package sevenzip

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf16"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A parser reads one directory. The first error ends it: what follows is zero.
// Every count is compared with the bytes that remain before anything is made.
type parser struct {
	b     []byte
	i     int
	a     *Archive
	size  int64 // of the file
	lim   bound.Limits
	named bool    // the part with files was there
	sums  []bool  // folders with a check
	subs  []int   // files of each folder
	each  []int64 // length of each file
	err   error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("directory, byte %d: "+format+": %w", append(append([]any{p.i}, args...), ErrFormat)...)
	}
}

func (p *parser) byte() byte {
	if b := p.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// take returns the next n bytes.
func (p *parser) take(n int) []byte {
	if p.err == nil && (n < 0 || n > len(p.b)-p.i) {
		p.fail("%d bytes, %d remain", n, len(p.b)-p.i)
	}
	if p.err != nil {
		return nil
	}
	p.i += n
	return p.b[p.i-n : p.i]
}

// number reads a number whose length the leading ones of its first byte tell.
func (p *parser) number() int64 {
	first := p.byte()
	more := bits.LeadingZeros8(^first)
	b := p.take(more)
	if p.err != nil {
		return 0
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	if more < 7 {
		v |= uint64(first&(0x7f>>more)) << (8 * more)
	}
	if v > 1<<62 {
		p.fail("number %d", v)
		return 0
	}
	return int64(v)
}

// count reads a number of things that need at least one byte or bit each.
func (p *parser) count(what string) int {
	n := p.number()
	if p.err == nil && n > int64(len(p.b)-p.i)*8 {
		p.fail("%d %s, %d bytes remain", n, what, len(p.b)-p.i)
	}
	if p.err == nil && n > int64(p.lim.Members) {
		p.err = fmt.Errorf("directory: %d %s, at most %d: %w", n, what, p.lim.Members, detect.ErrLimit)
	}
	if p.err != nil {
		return 0
	}
	return int(n)
}

// bitmap reads n bits; with all, a byte before them may say that all are set.
func (p *parser) bitmap(n int, all bool) []bool {
	set := make([]bool, n)
	if all && p.byte() != 0 {
		for i := range set {
			set[i] = true
		}
		return set
	}
	b := p.take((n + 7) / 8)
	if p.err != nil {
		return set
	}
	for i := range set {
		set[i] = b[i/8]&(0x80>>(i%8)) != 0
	}
	return set
}

// digests passes checks, which are not compared, and tells which are there.
func (p *parser) digests(n int) []bool {
	set := p.bitmap(n, true)
	for _, defined := range set {
		if defined {
			p.take(4)
		}
	}
	return set
}

func (p *parser) header() {
	if m := p.byte(); m != kHeader {
		p.fail("begins with mark %#x", m)
	}
	for p.err == nil {
		switch m := p.byte(); m {
		case kEnd:
			if len(p.a.Folders) > 0 && !p.named {
				p.fail("%d streams without files", len(p.a.Folders))
			}
			return
		case kProperties:
			for p.err == nil && p.number() != kEnd {
				p.take(int(min(p.number(), int64(len(p.b)))))
			}
		case kMore:
			other := &parser{b: p.b, i: p.i, a: &Archive{}, size: p.size, lim: p.lim}
			other.streams()
			p.i, p.err = other.i, other.err
		case kStreams:
			p.streams()
		case kFiles:
			p.named = true
			p.files()
		default:
			p.fail("unknown mark %#x", m)
		}
	}
}

func (p *parser) streams() {
	var starts, sizes []int64
	for p.err == nil {
		switch m := p.byte(); m {
		case kEnd:
			return
		case kPack:
			starts, sizes = p.pack()
		case kUnpack:
			p.unpack(starts, sizes)
		case kSub:
			p.substreams()
		default:
			p.fail("unknown mark %#x of streams", m)
		}
	}
}

// pack reads where the packed streams lie.
func (p *parser) pack() (starts, sizes []int64) {
	at := p.number()
	n := p.count("streams")
	for p.err == nil {
		switch m := p.byte(); m {
		case kEnd:
			return starts, sizes
		case kSize:
			for range n {
				size := p.number()
				if p.err == nil && (at > p.size-headerSize || size > p.size-headerSize-at) {
					p.fail("stream of %d bytes at %d, the file has %d", size, at, p.size)
				}
				if p.err != nil {
					return nil, nil
				}
				starts, sizes = append(starts, headerSize+at), append(sizes, size)
				at += size
			}
		case kCRC:
			p.digests(n)
		default:
			p.fail("unknown mark %#x of packed streams", m)
		}
	}
	return starts, sizes
}

// unpack reads how the streams are unpacked.
func (p *parser) unpack(starts, sizes []int64) {
	if m := p.byte(); m != kFolder {
		p.fail("mark %#x in place of folders", m)
	}
	n := p.count("folders")
	if p.byte() != 0 {
		p.fail("folders described elsewhere")
	}
	var outs []int
	next := 0
	for range n {
		f, in, out := p.folder()
		if p.err == nil && in > len(starts)-next {
			p.fail("%d streams, %d remain", in, len(starts)-next)
		}
		if p.err != nil {
			return
		}
		if in > 0 {
			f.Start, f.Bytes = starts[next], sizes[next]
		}
		next += in
		outs = append(outs, out)
		p.a.Folders = append(p.a.Folders, f)
	}
	for p.err == nil {
		switch m := p.byte(); m {
		case kEnd:
			return
		case kUnpackSize:
			for k, out := range outs {
				for range out {
					p.a.Folders[k].Size = p.number() // the last one counts for a single method
				}
			}
		case kCRC:
			p.sums = p.digests(n)
		default:
			p.fail("unknown mark %#x of folders", m)
		}
	}
}

// folder reads the methods of one folder, and how many packed streams it takes
// and unpacked sizes it has.
func (p *parser) folder() (f Folder, in, out int) {
	coders := p.count("methods")
	if coders > maxCoders {
		p.fail("%d methods", coders)
	}
	for range coders {
		flags := p.byte()
		id := p.take(int(flags & 15))
		ins, outs := 1, 1
		if flags&0x10 != 0 {
			ins, outs = p.count("inputs"), p.count("outputs")
		}
		var props []byte
		if flags&0x20 != 0 {
			props = p.take(p.count("bytes of properties"))
		}
		if ins > maxCoders || outs > maxCoders {
			p.fail("method with %d inputs and %d outputs", ins, outs)
		}
		if p.err != nil {
			return f, 0, 0
		}
		f.Methods, f.Props = append(f.Methods, hex.EncodeToString(id)), append(f.Props, props)
		in, out = in+ins, out+outs
	}
	binds := max(0, out-1)
	for range binds {
		f.Binds = append(f.Binds, [2]int64{p.number(), p.number()})
	}
	if in -= binds; in > 1 {
		for range in {
			p.number()
		}
	}
	if in < 0 {
		p.fail("%d methods without a packed stream", coders)
	}
	return f, in, out
}

// substreams reads how many files each folder holds and how long they are.
func (p *parser) substreams() {
	p.subs, p.each = make([]int, len(p.a.Folders)), nil
	for i := range p.subs {
		p.subs[i] = 1
	}
	sized := false
	for p.err == nil {
		switch m := p.byte(); m {
		case kEnd:
			if !sized {
				p.sizes(false)
			}
			return
		case kNumStreams:
			total := 0
			for i := range p.subs {
				p.subs[i] = p.count("files")
				if total += p.subs[i]; p.err == nil && total > p.lim.Members {
					p.err = fmt.Errorf("directory: more than %d files: %w", p.lim.Members, detect.ErrLimit)
				}
			}
		case kSize:
			p.sizes(true)
			sized = true
		case kCRC: // of files whose folder has none
			n := 0
			for i, k := range p.subs {
				if k != 1 || i >= len(p.sums) || !p.sums[i] {
					n += k
				}
			}
			p.digests(n)
		default:
			p.fail("unknown mark %#x of files", m)
		}
	}
}

// sizes fills in the length of each file: all but the last of a folder are
// stored.
func (p *parser) sizes(stored bool) {
	p.each = nil
	for i, n := range p.subs {
		left := p.a.Folders[i].Size
		for k := range n {
			size := left
			if k < n-1 {
				size = 0
				if stored {
					size = p.number()
				}
			}
			if size > left {
				p.fail("file of %d bytes in a folder with %d left", size, left)
			}
			if p.err != nil {
				return
			}
			left -= size
			p.each = append(p.each, size)
		}
	}
}

func (p *parser) files() {
	n := p.count("files")
	names := make([]string, 0)
	empty, emptyFile, attrs := make([]bool, n), []bool(nil), make([]uint32, n)
	for p.err == nil {
		m := p.byte()
		if m == kEnd {
			break
		}
		size := p.number()
		if p.err == nil && size > int64(len(p.b)-p.i) {
			p.fail("property %#x of %d bytes", m, size)
		}
		if p.err != nil {
			return
		}
		end := p.i + int(size)
		in := &parser{b: p.b[:end], i: p.i, lim: p.lim}
		switch m {
		case kEmptyStream:
			empty = in.bitmap(n, false)
		case kEmptyFile:
			k := 0
			for _, e := range empty {
				if e {
					k++
				}
			}
			emptyFile = in.bitmap(k, false)
		case kNames:
			names = in.names(n)
		case kAttributes:
			set := in.bitmap(n, true)
			in.byte()
			for i, ok := range set {
				if !ok {
					continue
				}
				if b := in.take(4); in.err == nil {
					attrs[i] = binary.LittleEndian.Uint32(b)
				}
			}
		}
		if p.i, p.err = end, in.err; p.err != nil {
			return
		}
	}
	p.entries(n, names, empty, emptyFile, attrs)
}

// names reads n names of 16-bit characters, each with a zero at its end.
func (p *parser) names(n int) []string {
	if p.byte() != 0 {
		p.fail("names kept elsewhere")
	}
	var names []string
	for range n {
		var units []uint16
		for {
			b := p.take(2)
			if p.err != nil {
				return names
			}
			if u := binary.LittleEndian.Uint16(b); u != 0 {
				units = append(units, u)
				continue
			}
			break
		}
		names = append(names, string(utf16.Decode(units)))
	}
	return names
}

// entries joins files with their folders.
func (p *parser) entries(n int, names []string, empty, emptyFile []bool, attrs []uint32) {
	if p.err != nil {
		return
	}
	if p.subs == nil { // one file in each folder
		p.subs = make([]int, len(p.a.Folders))
		for i := range p.subs {
			p.subs[i] = 1
		}
		p.sizes(false)
	}
	folder, inFolder, offset, file, hollow := 0, 0, int64(0), 0, 0
	for i := range n {
		e := Entry{Folder: -1}
		if i < len(names) {
			e.Name = strings.ReplaceAll(names[i], `\`, "/")
		}
		if mode := attrs[i] >> 16; attrs[i]&unixExtension != 0 && mode&0o170000 == 0o120000 {
			e.Link = true
		}
		if empty[i] {
			e.Dir = hollow >= len(emptyFile) || !emptyFile[hollow]
			hollow++
		} else {
			for folder < len(p.subs) && inFolder >= p.subs[folder] {
				folder, inFolder, offset = folder+1, 0, 0
			}
			if folder >= len(p.subs) || file >= len(p.each) {
				p.fail("more files than streams")
				return
			}
			e.Folder, e.Offset, e.Size = folder, offset, p.each[file]
			offset, inFolder, file = offset+e.Size, inFolder+1, file+1
		}
		p.a.Entries = append(p.a.Entries, e)
	}
	if file < len(p.each) {
		p.fail("%d streams without a name", len(p.each)-file)
	}
}
