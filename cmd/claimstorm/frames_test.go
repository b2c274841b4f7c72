package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestNoByteOfAFrameChangesUnseen.
func TestNoByteOfAFrameChangesUnseen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seq, sent := rapid.Int64Range(1, 1e12-1).Draw(t, "seq"), time.Duration(rapid.Int64Range(0, 1e16-1).Draw(t, "sent"))
		frame := appendOurs([]byte("before"), "up000007", seq, sent, rapid.IntRange(minFrame, 2000).Draw(t, "size"))[len("before"):]
		if !json.Valid(frame) {
			t.Fatalf("%s is no JSON", frame)
		}
		stream, n, at, err := ours(frame)
		if stream != "up000007" || n != seq || at != sent || err != nil {
			t.Fatalf("%s: %s %d %s %v", frame, stream, n, at, err)
		}
		conn, inner, _, err := opened(appendEnvelope(nil, "client-home-0", frame))
		if conn != "client-home-0" || string(inner) != string(frame) || err != nil {
			t.Fatalf("%s %s %v", conn, inner, err)
		}
		where := rapid.OneOf(rapid.IntRange(0, len(frame)-1), rapid.IntRange(sumAt, sumAt+7)).Draw(t, "where")
		frame[where] ^= byte(rapid.OneOf(rapid.IntRange(1, 255), rapid.Just(int('a'-'A'))).Draw(t, "how"))
		if _, _, _, err := ours(frame); err == nil {
			t.Fatalf("%s passes", frame)
		}
	})
}

func TestEnvelopesOfOtherRelaysAreOpened(t *testing.T) {
	for in, want := range map[string]string{
		`{"conn_id":"c","frame":{"a":"}"}}`:         `c {"a":"}"} 0`,
		`{ "frame" : [1] , "conn_id" : "c" }`:       `c [1] 0`,
		`{"conn_id":"c","close_code":1001}`:         `c  1001`,
		`{"conn_id":"\u0063","frame":"x"}`:          `c "x" 0`,
		`{"conn_id":"c","frame":"x","extra":false}`: `c "x" 0`,
	} {
		conn, frame, code, err := opened([]byte(in))
		if got := fmt.Sprintf("%s %s %d", conn, frame, code); got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	if _, _, _, err := opened([]byte(`{"conn_id":`)); err == nil {
		t.Error("what is no envelope passes")
	}
}

// TestAStreamTellsWhatBefellIt: each number is a frame that arrives, 0 one that was changed.
func TestAStreamTellsWhatBefellIt(t *testing.T) {
	type befell struct{ swapped, doubled, changed, missing int64 }
	for arrivals, want := range map[string]befell{
		"1 2 3 4 5":   {},
		"1 3 2 4 5":   {swapped: 1},
		"1 2 2 3 4 5": {doubled: 1},
		"1 2 4 5":     {missing: 1},
		"1 2 0 4 5":   {missing: 1, changed: 1},
		"2 3 4 5 1":   {swapped: 1},
		"1 2 3 5 5 4": {doubled: 1, swapped: 1},
	} {
		s := newStream("up000001", []int{minFrame}, 0, newTally())
		for n := range strings.FieldsSeq(arrivals) {
			frame := appendOurs(nil, s.name, int64(n[0]-'0'), 0, minFrame)
			if n == "0" {
				frame[1] ^= 1
			}
			s.receive(1, frame)
		}
		if got := (befell{s.swapped.times, s.doubled.times, s.changed.times, int64(len(s.missing))}); got != want {
			t.Errorf("%s: %+v, want %+v", arrivals, got, want)
		}
	}
}
