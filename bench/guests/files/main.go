// Files does the same work on a directory wherever it runs: as a guest of ours, as a guest of
// wasmtime's command on a directory of the host, and as a native program. It times itself,
// in rounds long enough for a clock of one millisecond, and prints one line for each round:
// the name of the work and nanoseconds for one piece of it.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

const (
	block      = 64 << 10
	blocks     = 512 // 32 MiB
	passes     = 32
	names      = 10_000
	listings   = 20
	rounds     = 5
	smallBytes = 64
)

func main() {
	dir := os.Args[1]
	cycles, err := strconv.Atoi(os.Args[2])
	check(err)
	for range rounds {
		round("cycle", cycles, func() { small(dir, cycles) })
		sequential(filepath.Join(dir, "large"))
	}
	listing(filepath.Join(dir, "many"))
}

// small is what a build or an interpreter does most: a small file comes, is looked at, and goes.
func small(dir string, cycles int) {
	data := make([]byte, smallBytes)
	for i := range cycles {
		path := filepath.Join(dir, "f"+strconv.Itoa(i%97))
		check(os.WriteFile(path, data, 0o600))
		_, err := os.Stat(path)
		check(err)
		check(os.Remove(path))
	}
}

func sequential(path string) {
	data := make([]byte, block)
	for i := range data {
		data[i] = byte(i)
	}
	pass := func(name string, begin func(), each func(i int)) {
		round(name, blocks*passes, func() {
			for range passes {
				begin()
				for i := range blocks {
					each(i)
				}
			}
		})
	}
	var memory []byte
	fresh := func() { memory = make([]byte, block*blocks) }
	toMemory := func(i int) { copy(memory[i*block:], data) }
	pass("copy-new", fresh, toMemory)
	pass("copy", func() {}, toMemory)
	memory = nil

	file, err := os.Create(path)
	check(err)
	defer file.Close()
	rewind := func() {
		_, err := file.Seek(0, 0)
		check(err)
	}
	empty := func() {
		check(file.Truncate(0))
		rewind()
	}
	whole := func(n int, err error) {
		check(err)
		if n != block {
			check(fmt.Errorf("moved %d of %d bytes", n, block))
		}
	}
	pass("write-new", empty, func(int) { whole(file.Write(data)) })
	pass("write", rewind, func(int) { whole(file.Write(data)) })
	pass("read", rewind, func(int) { whole(file.Read(data)) })
	check(os.Remove(path))
}

func listing(dir string) {
	check(os.Mkdir(dir, 0o700))
	for i := range names {
		check(os.WriteFile(filepath.Join(dir, "name-"+strconv.Itoa(i)), nil, 0o600))
	}
	for range rounds {
		round("list", listings, func() {
			for range listings {
				handle, err := os.Open(dir)
				check(err)
				found, err := handle.Readdirnames(-1)
				check(err)
				check(handle.Close())
				if len(found) != names {
					check(fmt.Errorf("listed %d of %d", len(found), names))
				}
			}
		})
	}
}

func round(name string, pieces int, work func()) {
	start := time.Now()
	work()
	fmt.Println(name, time.Since(start).Nanoseconds()/int64(pieces))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(1)
	}
}
