// Works on files as Go programs do, and prints what it found: counts and checksums.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const files = 10_000

type record struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Tags  []string `json:"tags"`
	Score float64  `json:"score"`
}

func main() {
	must(os.Chdir("/work"))
	made := sum(makeFiles)
	moved := sum(moveFiles)
	walked, bytes := walk("tree")
	fmt.Println("made", made, "moved", moved, "walked", walked, "bytes", bytes)
	listed()
	records()
	odd()
}

// makeFiles writes 10,000 files into 100 directories.
func makeFiles() int {
	for i := range files {
		dir := fmt.Sprintf("tree/%02d", i%100)
		must(os.MkdirAll(dir, 0o755))
		must(os.WriteFile(fmt.Sprintf("%s/f%05d.new", dir, i), fmt.Appendf(nil, "file %d\n", i), 0o644))
	}
	return files
}

// moveFiles gives every file its last name, half of them over a file that is there.
func moveFiles() int {
	for i := range files {
		to := fmt.Sprintf("tree/%02d/f%05d", i%100, i)
		if i%2 == 0 {
			must(os.WriteFile(to, []byte("in the way"), 0o644))
		}
		must(os.Rename(to+".new", to))
	}
	return files
}

func sum(step func() int) int { return step() }

func walk(root string) (count int, total int64) {
	hash := sha256.New()
	must(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		must(err)
		if entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		must(err)
		content, err := os.ReadFile(path)
		must(err)
		fmt.Fprintln(hash, path, info.Size(), string(content))
		count, total = count+1, total+info.Size()
		return nil
	}))
	fmt.Printf("tree %x\n", hash.Sum(nil)[:8])
	return count, total
}

// listed reads one directory of 10,000 names.
func listed() {
	must(os.Mkdir("flat", 0o755))
	for i := range files {
		must(os.WriteFile(fmt.Sprintf("flat/%05d", i), nil, 0o644))
	}
	entries, err := os.ReadDir("flat")
	must(err)
	first, last := entries[0].Name(), entries[len(entries)-1].Name()
	fmt.Println("listed", len(entries), first, last)
	must(os.RemoveAll("flat"))
	_, err = os.Stat("flat")
	fmt.Println("removed", errors.Is(err, fs.ErrNotExist))
}

// records writes 100,000 records of JSON to a file and reads them again.
func records() {
	file, err := os.Create("records.json")
	must(err)
	encoder := json.NewEncoder(file)
	for i := range 100_000 {
		must(encoder.Encode(record{i, fmt.Sprint("name ", i), []string{"a", fmt.Sprint(i % 7)}, float64(i) / 8}))
	}
	must(file.Close())
	content, err := os.ReadFile("records.json")
	must(err)
	decoder := json.NewDecoder(bytes.NewReader(content))
	var total float64
	count := 0
	for decoder.More() {
		var one record
		must(decoder.Decode(&one))
		total, count = total+one.Score, count+1
	}
	fmt.Printf("records %d %.2f %d %x\n", count, total, len(content), sha256.Sum256(content))
}

// odd does what goes wrong on purpose.
func odd() {
	says := func(err error, want syscall.Errno) bool { return errors.Is(err, want) }
	_, err := os.OpenFile("records.json", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	fmt.Println("exists", says(err, syscall.EEXIST))
	fmt.Println("not empty", says(os.Remove("tree"), syscall.ENOTEMPTY))
	fmt.Println("not a directory", says(os.Mkdir("records.json/x", 0o755), syscall.ENOTDIR))
	must(os.Symlink("records.json", "link"))
	target, err := os.Readlink("link")
	must(err)
	fmt.Println("link", target)
	must(os.Truncate("records.json", 10))
	info, err := os.Stat("link")
	must(err)
	fmt.Println("truncated", info.Size())
	_, err = os.Stat("/etc/passwd")
	fmt.Println("no host", errors.Is(err, fs.ErrNotExist))
}

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
