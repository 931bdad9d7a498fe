// Rogue does what a guest should not do, and says how far it came.
//
//	rogue spin     looks around, then never returns
//	rogue memory   takes memory until there is none
//	rogue greedy N takes N MiB of memory, all its files and more log than it may, then spins
//
// Go asks the host for the files; the network it plays by itself, since WASI preview1 has no
// call that would open a socket.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	act := "spin"
	if len(os.Args) > 1 {
		act = os.Args[1]
	}
	switch act {
	case "spin":
		snoop()
		spin()
	case "memory":
		hoard()
	case "greedy":
		if err := greedy(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "rogue:", err)
			os.Exit(2)
		}
	default:
		fmt.Fprintf(os.Stderr, "rogue: no such act: %s\n", act)
		os.Exit(2)
	}
}

func snoop() {
	attempt("read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err })
	attempt("list /", func() error { _, err := os.ReadDir("/"); return err })
	attempt("escape by ../..", func() error { _, err := os.Stat("../../../../proc/self/environ"); return err })
	attempt("write a file", func() error { return os.WriteFile("/tmp/mine", []byte("x"), 0o600) })
	attempt("call the metadata service", func() error { return dial("169.254.169.254:80") })
	attempt("call the API server", func() error { return dial("kubernetes.default.svc:443") })
	attempt("start a shell", func() error { return exec.Command("/bin/sh", "-c", "id").Run() })
	fmt.Printf("my environment holds %d variables of yours\n", len(os.Environ()))
}

func attempt(what string, do func() error) {
	if err := do(); err != nil {
		fmt.Printf("%-26s refused: %v\n", what, err)
		return
	}
	fmt.Printf("%-26s DONE\n", what)
}

func dial(address string) error {
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
	}
	return err
}

func spin() {
	fmt.Println("then I shall keep the processor busy for ever")
	for n := uint64(1); ; n++ {
		if n == 0 {
			fmt.Println("for ever is over")
		}
	}
}

func hoard() {
	// Go's last words would be a hundred lines of stack. Without stderr it just falls over.
	syscall.Close(2)
	const piece = 8 << 20
	var hoarded [][]byte
	for {
		block := make([]byte, piece)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		hoarded = append(hoarded, block)
		fmt.Printf("I hold %d MiB\n", len(hoarded)*piece>>20)
	}
}

// greedy comes close to its limits and stays there for a while, so that somebody can look.
func greedy(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("greedy needs a number of MiB")
	}
	mib, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	hoarded := make([][]byte, mib)
	for i := range hoarded {
		hoarded[i] = make([]byte, 1<<20)
		for at := 0; at < 1<<20; at += 4096 {
			hoarded[i][at] = 1
		}
	}
	fmt.Printf("I hold %d MiB\n", len(hoarded))
	files, err := fill()
	fmt.Printf("my files take %d KiB, then: %v\n", 64*files, err)
	time.Sleep(3 * time.Second)
	for line := 0; line < 64; line++ {
		fmt.Println("and I talk", strings.Repeat("and talk ", 10))
	}
	spin()
	return nil
}

// fill writes files of 64 KiB until it may not, and returns how many there are.
func fill() (int, error) {
	for files := 0; ; files++ {
		name := fmt.Sprintf("/tmp/%d", files)
		if err := os.WriteFile(name, make([]byte, 64<<10), 0o600); err != nil {
			return files, err
		}
	}
}
