package report

import (
	"encoding/hex"

	"github.com/modelwarden/warden"
)

// StructureSchema names the JSON form of a [Structure].
const StructureSchema = "warden.structure/v1"

// A Structure is what is inside one file, for people to look at.
type Structure struct {
	Schema  string   `json:"schema"`
	Path    string   `json:"path"`
	Members []Member `json:"members"`
	Cut     bool     `json:"cut" doc:"there are more members"`
	Unread  []Status `json:"unread" doc:"members that could not be opened"`
}

// A Member is a file, or one member of a container at any depth.
type Member struct {
	Path       string    `json:"path"`
	Depth      int       `json:"depth" doc:"containers around it"`
	Format     string    `json:"format" doc:"empty if unknown"`
	Also       []string  `json:"also" doc:"further formats that some loader would take it for"`
	Size       int64     `json:"size"`
	Verdict    string    `json:"verdict" doc:"of this member with all that it contains"`
	Parts      []Part    `json:"parts" doc:"tensors, operators, what a pickle does; the first ones"`
	PartsTotal int       `json:"parts_total"`
	Opcodes    []Opcode  `json:"opcodes" doc:"instructions of pickle streams; the first ones"`
	OpcodesAll bool      `json:"opcodes_all"`
	Findings   []Excerpt `json:"findings"`
	Statuses   []Status  `json:"statuses"`
}

// A Part is a tensor, an operator, a metadata entry, an effect of a pickle.
type Part struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Detail string `json:"detail"`
	Start  int64  `json:"start" doc:"byte in the innermost member; -1 without a place"`
	End    int64  `json:"end"`
}

// An Opcode is one instruction of a pickle stream.
type Opcode struct {
	Start int64  `json:"start"`
	End   int64  `json:"end"`
	Name  string `json:"name"`
	Arg   string `json:"arg"`
}

// An Excerpt is a finding with the bytes that it is about.
type Excerpt struct {
	Finding
	Offset int64  `json:"offset" doc:"of bytes in the member; -1 if there are none"`
	Bytes  string `json:"bytes" doc:"hexadecimal"`
}

// NewExcerpt converts a finding and its bytes.
func NewExcerpt(f warden.Finding, r warden.Rule, offset int64, data []byte) Excerpt {
	return Excerpt{NewFinding(f, r), offset, hex.EncodeToString(data)}
}
