package agentvm

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// exchange is a request and its answer behind a descriptor. Go's scheduler waits for it as it does
// for a network connection, while other goroutines run.
type exchange struct {
	file *os.File
	raw  syscall.RawConn
	// stop ends the watch over the context; it is nil where nothing can cancel that.
	stop func() bool
	ctx  context.Context

	mu sync.Mutex
	// broken is why the exchange was closed from here.
	broken error
}

// open sends a request, the body of which follows where it has one.
func open(ctx context.Context, method, url, headers string, body bool) (*exchange, error) {
	flags := uint32(flagNonblock)
	if body {
		flags |= flagBody
	}
	var fd uint32
	switch errno := syscall.Errno(hostOpen(method, url, headers, flags, unsafe.Pointer(&fd))); errno {
	case 0:
	case syscall.EACCES:
		return nil, ErrDenied
	case syscall.ENFILE:
		return nil, ErrTooMany
	case syscall.EINVAL:
		return nil, errInvalid
	case syscall.E2BIG:
		return nil, errHeaderSize
	default:
		return nil, os.NewSyscallError("open", errno)
	}
	file := os.NewFile(uintptr(fd), url)
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	x := &exchange{file: file, raw: raw, ctx: ctx}
	if ctx.Done() != nil {
		x.stop = context.AfterFunc(ctx, func() { x.breakOff(context.Cause(ctx)) })
	}
	return x, nil
}

// breakOff gives the exchange up: whoever waits for it is told why.
func (x *exchange) breakOff(why error) {
	x.mu.Lock()
	if x.broken == nil {
		x.broken = why
	}
	x.mu.Unlock()
	x.file.Close()
}

func (x *exchange) close() error {
	if x.stop != nil {
		x.stop()
	}
	if err := x.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// head waits for the answer and is its status and headers as text.
func (x *exchange) head() (string, error) {
	var told string
	var errno syscall.Errno
	err := x.raw.Read(func(fd uintptr) bool {
		told, errno = text(hostHead, uint32(fd))
		return errno != syscall.EAGAIN
	})
	if err == nil && errno != 0 {
		err = errno
	}
	return told, x.explain(err)
}

// Read reads the body of the answer.
func (x *exchange) Read(buffer []byte) (int, error) {
	n, err := x.file.Read(buffer)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, x.explain(err)
}

// Write writes the body of the request.
func (x *exchange) Write(bytes []byte) (int, error) {
	return x.file.Write(bytes)
}

// finish ends the body of the request.
func (x *exchange) finish() error {
	var errno syscall.Errno
	err := x.raw.Control(func(fd uintptr) { errno = syscall.Errno(hostFinish(uint32(fd))) })
	if err == nil && errno != 0 {
		err = errno
	}
	return err
}

// trailers are what follows the body of the answer, as text.
func (x *exchange) trailers() string {
	var told string
	_ = x.raw.Control(func(fd uintptr) { told, _ = text(hostTrailers, uint32(fd)) })
	return told
}

// explain is what a failed call is told as: why the exchange was given up here, or the code that
// the host has for it.
func (x *exchange) explain(err error) error {
	if err == nil {
		return nil
	}
	x.mu.Lock()
	broken := x.broken
	x.mu.Unlock()
	if broken != nil {
		return broken
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) || errno != syscall.EIO {
		return err
	}
	var code string
	_ = x.raw.Control(func(fd uintptr) { code, _ = text(hostFailure, uint32(fd)) })
	if code == "" {
		return errInternal
	}
	return &Error{Code: code}
}
