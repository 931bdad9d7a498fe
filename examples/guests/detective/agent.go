package main

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// question is something the agent wants to know: a tool, and what to use it on.
type question struct {
	tool, about string
	why         string
}

// tools answer questions. An answer may raise new ones.
var tools = map[string]func(*agent, string) (string, []question){
	"count":   (*agent).count,
	"first":   (*agent).first,
	"before":  (*agent).before,
	"blame":   (*agent).blame,
	"recover": (*agent).recover,
}

type agent struct {
	log      []entry
	pace     time.Duration
	findings []string
	culprit  string
}

// work answers questions until none is open.
func work(a *agent) *agent {
	open := []question{{"count", "ERROR", "who complains most?"}}
	asked := map[question]bool{}
	for step := 1; len(open) > 0; step++ {
		next := open[0]
		open = open[1:]
		if asked[next] {
			continue
		}
		asked[next] = true
		fmt.Printf("step %d   %s\n         %s(%s)\n", step, next.why, next.tool, next.about)
		time.Sleep(a.pace)
		answer, raised := tools[next.tool](a, next.about)
		fmt.Printf("         -> %s\n\n", answer)
		a.findings = append(a.findings, answer)
		open = append(open, raised...)
	}
	return a
}

// count counts the lines of a level by service.
func (a *agent) count(level string) (string, []question) {
	counts := map[string]int{}
	for _, e := range a.log {
		if e.level == level {
			counts[e.service]++
		}
	}
	if len(counts) == 0 {
		return "nobody: the log has no line of level " + level, nil
	}
	services := make([]string, 0, len(counts))
	for service := range counts {
		services = append(services, service)
	}
	sort.Slice(services, func(i, j int) bool {
		if counts[services[i]] != counts[services[j]] {
			return counts[services[i]] > counts[services[j]]
		}
		return services[i] < services[j]
	})
	var parts []string
	var raised []question
	for _, service := range services {
		parts = append(parts, fmt.Sprintf("%s %d", service, counts[service]))
		raised = append(raised, question{"first", service, "the loudest is seldom the cause: when did " + service + " first fail?"})
	}
	return strings.Join(parts, ", "), append(raised, question{"blame", level, "which failure came first of all?"})
}

// first finds a service's first error.
func (a *agent) first(service string) (string, []question) {
	for _, e := range a.log {
		if e.service == service && e.level == "ERROR" {
			return fmt.Sprintf("%s %s: %s", e.at, service, e.text), nil
		}
	}
	return service + " never failed", nil
}

// blame finds the service whose error came first.
func (a *agent) blame(level string) (string, []question) {
	for _, e := range a.log {
		if e.level == level {
			a.culprit = e.service
			return fmt.Sprintf("%s, at %s: the others followed", e.service, e.at), []question{
				{"before", e.service, "what happened to " + e.service + " in the minutes before?"},
				{"recover", e.service, "and when was it over?"},
			}
		}
	}
	return "nobody", nil
}

// before finds what was noted of a service in the ten minutes before its first error.
func (a *agent) before(service string) (string, []question) {
	failed := 0
	for _, e := range a.log {
		if e.service == service && e.level == "ERROR" {
			failed = e.seconds
			break
		}
	}
	var notes []string
	for _, e := range a.log {
		if e.service == service && e.level != "ERROR" && e.seconds < failed && failed-e.seconds <= 600 {
			notes = append(notes, e.at+" "+e.text)
		}
	}
	if len(notes) == 0 {
		return "nothing was noted", nil
	}
	return strings.Join(notes, "; "), nil
}

// recover finds the first line after the last error.
func (a *agent) recover(string) (string, []question) {
	last := -1
	for i, e := range a.log {
		if e.level == "ERROR" {
			last = i
		}
	}
	if last < 0 || last+1 == len(a.log) {
		return "the log ends before it was over", nil
	}
	over := a.log[last+1]
	return fmt.Sprintf("last error %s, then %s %s: %s", a.log[last].at, over.at, over.service, over.text), nil
}

func (a *agent) report(goal string) {
	fmt.Println("REPORT")
	fmt.Printf("  asked:  %s\n", goal)
	if a.culprit == "" {
		fmt.Println("  answer: nothing failed")
		return
	}
	fmt.Printf("  answer: it began in %s\n", a.culprit)
	for i, finding := range a.findings {
		fmt.Printf("  %d. %s\n", i+1, finding)
	}
}
