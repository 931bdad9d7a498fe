package agentvm

import (
	"syscall"
	"unsafe"
)

// What the host offers: wit/README.md of AgentVM.

const (
	flagBody     = 1 << 0
	flagNonblock = 1 << 2
)

//go:wasmimport agentvm:http/requests@0.1.0 open
//go:noescape
func hostOpen(method, url, headers string, flags uint32, fd unsafe.Pointer) uint32

//go:wasmimport agentvm:http/requests@0.1.0 head
//go:noescape
func hostHead(fd uint32, buffer unsafe.Pointer, length uint32, whole unsafe.Pointer) uint32

//go:wasmimport agentvm:http/requests@0.1.0 trailers
//go:noescape
func hostTrailers(fd uint32, buffer unsafe.Pointer, length uint32, whole unsafe.Pointer) uint32

//go:wasmimport agentvm:http/requests@0.1.0 failure
//go:noescape
func hostFailure(fd uint32, buffer unsafe.Pointer, length uint32, whole unsafe.Pointer) uint32

//go:wasmimport agentvm:http/requests@0.1.0 finish
//go:noescape
func hostFinish(fd uint32) uint32

type textCall func(fd uint32, buffer unsafe.Pointer, length uint32, whole unsafe.Pointer) uint32

// text is what call tells of fd, however long it is.
func text(call textCall, fd uint32) (string, syscall.Errno) {
	buffer := make([]byte, 4096)
	for {
		var whole uint32
		errno := syscall.Errno(call(fd, unsafe.Pointer(&buffer[0]), uint32(len(buffer)), unsafe.Pointer(&whole)))
		switch {
		case errno == syscall.ERANGE && int(whole) > len(buffer):
			buffer = make([]byte, whole)
		case errno != 0:
			return "", errno
		default:
			return string(buffer[:whole]), 0
		}
	}
}
