// Detective is a small agent: it is given a goal and an incident log, works through a list
// of open questions, and each answer may raise new questions. No model, no network, no
// clock in what it prints: the same log gives the same report.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	goal, log := os.Getenv("GOAL"), os.Getenv("LOG")
	if goal == "" || log == "" {
		fmt.Fprintln(os.Stderr, "detective: set GOAL and LOG in spec.env")
		os.Exit(2)
	}
	entries, err := parse(log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "detective: LOG: %v\n", err)
		os.Exit(3)
	}
	fmt.Printf("goal     %s\n", goal)
	fmt.Printf("given    %d log lines, %s to %s\n\n", len(entries), entries[0].at, entries[len(entries)-1].at)
	work(&agent{log: entries, pace: pace()}).report(goal)
}

// pace is how long the agent rests between two steps, so that a person can follow.
func pace() time.Duration {
	pace, err := time.ParseDuration(os.Getenv("PACE"))
	if err != nil {
		return 0
	}
	return pace
}

// entry is one line of the log: `09:13:41 payments ERROR pool exhausted`.
type entry struct {
	at, service, level, text string
	seconds                  int
}

func parse(log string) ([]entry, error) {
	var entries []entry
	for number, line := range strings.Split(strings.TrimSpace(log), "\n") {
		fields := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(fields) < 4 {
			return nil, fmt.Errorf("line %d has %d words, and needs time, service, level and text", number+1, len(fields))
		}
		seconds, err := sinceMidnight(fields[0])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
		entries = append(entries, entry{fields[0], fields[1], fields[2], fields[3], seconds})
	}
	return entries, nil
}

func sinceMidnight(clock string) (int, error) {
	parts := strings.Split(clock, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("%q is not a time like 09:13:41", clock)
	}
	total := 0
	for _, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil {
			return 0, fmt.Errorf("%q is not a time like 09:13:41", clock)
		}
		total = total*60 + n
	}
	return total, nil
}
