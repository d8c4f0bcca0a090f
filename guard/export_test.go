package guard

// Steps returns what the stream cost so far.
func (s *Stream) Steps() (n int64) {
	for _, l := range s.lanes {
		n += l.text.Steps()
	}
	return n
}
