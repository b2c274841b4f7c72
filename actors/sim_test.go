package actors

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
)

var onlySeed = flag.Uint64("seed", 0, "TestSimulator: live this one life, and tell its story")

// TestSimulator lives many lives of a relay, and the judge looks at each. A life that breaks a rule is told.
func TestSimulator(t *testing.T) {
	if *onlySeed != 0 {
		w := liveOnce(t, *onlySeed, newSystem(), true)
		t.Logf("seed %d:\n%s\n%s", *onlySeed, strings.Join(w.story, "\n"), w.judge.verdict)
		if w.judge.verdict != "" {
			t.Fail()
		}
		return
	}
	lives := uint64(10_000)
	if os.Getenv("SOAK") != "" {
		lives *= 30
	}
	shards := uint64(runtime.GOMAXPROCS(0))
	results := make(chan seen, shards)
	t.Run("lives", func(t *testing.T) {
		for shard := range shards {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				system, all := newSystem(), seen{}
				for seed := shard + 1; seed <= lives; seed += shards {
					w := liveOnce(t, seed, system, false)
					if w.judge.verdict != "" {
						w = liveOnce(t, seed, newSystem(), true)
						t.Fatalf("%s\n%s\n\nagain: go test ./actors -run TestSimulator -seed %d", strings.Join(w.story, "\n"), w.judge.verdict, seed)
					}
					all.add(w.judge.seen)
				}
				results <- all
			})
		}
	})
	close(results)
	all := seen{}
	for r := range results {
		all.add(r)
	}
	t.Logf("%d lives: %+v", lives, all)
	for i, v := 0, reflect.ValueOf(all); i < v.NumField(); i++ {
		if v.Field(i).Int() < int64(lives/100) && !t.Failed() {
			t.Errorf("%s: %d in %d lives prove nothing", v.Type().Field(i).Name, v.Field(i).Int(), lives)
		}
	}
}

// liveOnce lives one life, up to the first broken rule.
func liveOnce(t *testing.T, seed uint64, system *actor.ActorSystem, told bool) (w *world) {
	synctest.Test(t, func(*testing.T) {
		defer func() {
			if reason := recover(); reason != nil && (w == nil || reason != w.judge) {
				panic(reason)
			}
		}()
		w = newWorld(seed, system, told)
		w.live()
	})
	return w
}

func (s *seen) add(more seen) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(more)
	for i := range to.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
}

// TestSimulatorRepeatsItself: a seed is a life, whatever was lived before it in the same process.
func TestSimulatorRepeatsItself(t *testing.T) {
	const lives = 200
	var journals [2][lives]string
	for round, system := range []*actor.ActorSystem{newSystem(), newSystem()} {
		for i := range lives {
			if round == 1 {
				i = lives - 1 - i
			}
			w := liveOnce(t, uint64(i+1), system, round == 1)
			bytes, err := json.Marshal(w.relay.Journal().Select(Query{Limit: DefaultJournal}))
			if err != nil {
				t.Fatal(err)
			}
			journals[round][i] = string(bytes)
		}
	}
	for i := range lives {
		if journals[0][i] != journals[1][i] {
			t.Fatalf("seed %d:\n%s\n%s", i+1, journals[0][i], journals[1][i])
		}
	}
}
