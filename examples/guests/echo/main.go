// Echo is a service: it stays, waits on stdin, and leaves when stdin closes.
//
// A VM learns by the end of its stdin that it shall stop: it then has
// spec.terminationGracePeriod to put its things in order before it is stopped.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	fmt.Println("stdin is closed: leaving")
}
