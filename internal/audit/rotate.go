package audit

import "golang.org/x/mod/sumdb/note"

// A Retired key signed checkpoints until another took its place. It is trusted
// for the log as long as it was then, and for nothing that came later: whoever
// finds it cannot sign what is not there yet.
type Retired struct {
	Verifier note.Verifier
	Size     uint64 // entries of the last checkpoint that it signed, which names both keys
}

// Rotated is the verifier of a log whose key was changed. It is the present key
// to whoever knows nothing of the others.
type Rotated struct {
	note.Verifier
	Retired []Retired
}

// verifiers returns every key that a checkpoint may be signed by.
func verifiers(v note.Verifier) note.Verifiers {
	list := []note.Verifier{v}
	if r, ok := v.(Rotated); ok {
		for _, x := range r.Retired {
			list = append(list, x.Verifier)
		}
	}
	return note.VerifierList(list...)
}

// mayHaveSigned reports whether one of the verified signatures of a checkpoint
// of so many entries counts.
func mayHaveSigned(v note.Verifier, sigs []note.Signature, size uint64) bool {
	for _, s := range sigs {
		if s.Hash == v.KeyHash() {
			return true
		}
		r, ok := v.(Rotated)
		for i := 0; ok && i < len(r.Retired); i++ {
			if x := r.Retired[i]; s.Hash == x.Verifier.KeyHash() && size <= x.Size {
				return true
			}
		}
	}
	return false
}
