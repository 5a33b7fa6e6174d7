package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/tasksink/tasksink/internal/terminal"
)

// asks tells whether there is a terminal to ask at.
func (s screen) asks() bool { return terminal.Is(s.err) && terminal.Is(os.Stdin) }

// confirm asks a question at the terminal. It returns an error if the answer is not yes.
func (s screen) confirm(ctx context.Context, question string) error {
	_, _ = fmt.Fprint(s.err, question+" [y/N] ")
	answer := make(chan string, 1)
	go func() { // a read of a terminal cannot be interrupted; the process ends soon
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if err != nil {
			line = ""
		}
		answer <- line
	}()
	select {
	case line := <-answer:
		if a := strings.ToLower(strings.TrimSpace(line)); a != "y" && a != "yes" {
			return errors.New("the answer was not y")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
