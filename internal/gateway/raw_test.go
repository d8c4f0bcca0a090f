package gateway_test

import (
	"bufio"
	"net"
	"strings"
	"time"
)

// rawRequest sends bytes as they are and returns the status of the answer.
func rawRequest(host, text string) (status string, err error) {
	c, err := net.DialTimeout("tcp", host, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	_, status, _ = strings.Cut(strings.TrimSpace(line), " ")
	status, _, _ = strings.Cut(status, " ")
	return status, err
}
