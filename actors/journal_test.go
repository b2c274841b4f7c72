package actors

import (
	"sync"
	"testing"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// seqs are the numbers of what is selected.
func seqs(entries []slots.Entry) (all []int64) {
	for _, e := range entries {
		all = append(all, e.Seq)
	}
	return all
}

func TestJournalKeepsTheNewest(t *testing.T) {
	j := newJournal(200)
	if got := j.Select(Query{Limit: 10}); len(got) != 0 || got == nil {
		t.Errorf("of an empty journal: %v", got)
	}
	for i := range 1000 {
		j.append(&slots.Entry{Server: messages.ServerID([]string{"even", "odd"}[i%2])})
	}
	for _, c := range []struct {
		server             messages.ServerID
		after              int64
		limit              int
		first, last, count int64
	}{
		{"", 0, 5000, 801, 1000, 200},
		{"", 0, 3, 801, 803, 3},
		{"", 900, 5000, 901, 1000, 100},
		{"", 1000, 5, 0, 0, 0},
		{"", 5000, 5, 0, 0, 0},
		{"", -7, 1, 801, 801, 1},
		{"", 0, 0, 0, 0, 0},
		{"odd", 0, 5000, 802, 1000, 100},
		{"odd", 990, 2, 992, 994, 2},
		{"other", 0, 5000, 0, 0, 0},
	} {
		got := seqs(j.Select(Query{Server: c.server, After: c.after, Limit: c.limit}))
		if int64(len(got)) != c.count || c.count > 0 && (got[0] != c.first || got[len(got)-1] != c.last) {
			t.Errorf("Select(%q, %d, %d) = %v, want %d from %d to %d", c.server, c.after, c.limit, got, c.count, c.first, c.last)
		}
	}
}

func TestJournalIsReadWithoutGapsWhileItIsWritten(t *testing.T) {
	j := newJournal(2 * CopyChunk)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				j.append(&slots.Entry{})
			}
		}
	})
	for range 500 {
		got := seqs(j.Select(Query{Limit: 1 << 20}))
		for i := 1; i < len(got); i++ {
			if got[i] != got[i-1]+1 {
				t.Fatalf("from %d to %d", got[i-1], got[i])
			}
		}
		if len(got) > 20*CopyChunk {
			break // a reader that keeps up with the writer goes on; enough
		}
	}
	close(stop)
	wg.Wait()
}

func TestAppendingAllocatesNothing(t *testing.T) {
	j, e := newJournal(64), &slots.Entry{Server: "alpha"}
	if n := testing.AllocsPerRun(1000, func() { j.append(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
