package limit

import "time"

// buckets is into how many parts a sliding window is divided. One more is
// counted.
const buckets = 60

// A window counts what was used in the last buckets+1 buckets.
type window struct {
	ring  [buckets + 1]int64
	last  int64 // index of the newest bucket that was touched
	total int64
}

// bucketOf returns the index of the bucket that t is in.
func bucketOf(t time.Time, length time.Duration) int64 {
	return t.UnixNano() / int64(length/buckets)
}

// at moves to bucket b. Buckets never go back: a clock that does counts into
// the newest.
func (w *window) at(b int64) int64 {
	if b <= w.last {
		return w.last
	}
	if b-w.last > buckets {
		w.ring, w.total = [buckets + 1]int64{}, 0
	} else {
		for i := w.last + 1; i <= b; i++ {
			w.total -= w.ring[i%(buckets+1)]
			w.ring[i%(buckets+1)] = 0
		}
	}
	w.last = b
	return b
}

// add counts n, which may be negative, in bucket b. What left the window does
// not count any more.
func (w *window) add(b, n int64) {
	if b > w.last || w.last-b > buckets {
		return
	}
	w.ring[b%(buckets+1)] += n
	w.total += n
}

// free returns after how many buckets from now n units more have room, if
// nothing else is used, and at most buckets+1.
func (w *window) free(n, amount int64) int64 {
	left := w.total
	for i := int64(0); i <= buckets; i++ {
		if left+n <= amount {
			return i
		}
		left -= w.ring[(w.last+1+i)%(buckets+1)]
	}
	return buckets + 1
}
