// A function in Go, standard library only: lowest and highest value of each topic so far.
//
//	go build -o extremes main.go
//
// From {"value":21.5} it makes {"topic":"t","low":20.1,"high":21.5,"n":7}.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"syscall"
)

// ---- Frames, see docs/frames.md ----

// fields are the members of a protobuf message: the number, or the bytes.
type field struct {
	number uint64
	bytes  []byte
}

func decode(data []byte) (map[uint64]field, error) {
	out := map[uint64]field{}
	for len(data) > 0 {
		key, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errors.New("wrong key")
		}
		data = data[n:]
		value, n := binary.Uvarint(data)
		if n <= 0 {
			return nil, errors.New("wrong number")
		}
		data = data[n:]
		switch key & 7 {
		case 0:
			out[key>>3] = field{number: value}
		case 2:
			if value > uint64(len(data)) {
				return nil, errors.New("wrong length")
			}
			out[key>>3] = field{bytes: data[:value]}
			data = data[value:]
		default:
			return nil, errors.New("wrong type")
		}
	}
	return out, nil
}

func putNumber(out []byte, key, value uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(out, key<<3), value)
}

func putBytes(out []byte, key uint64, value []byte) []byte {
	out = binary.AppendUvarint(out, key<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(value))), value...)
}

type pipes struct {
	in  *bufio.Reader
	out *os.File
	max uint64
}

func (p *pipes) read(member uint64) (map[uint64]field, error) {
	var prefix [5]byte
	if _, err := io.ReadFull(p.in, prefix[:]); err != nil {
		return nil, err
	}
	n := uint64(binary.BigEndian.Uint32(prefix[1:]))
	if prefix[0] != 0 || n > p.max {
		return nil, errors.New("wrong frame")
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(p.in, data); err != nil {
		return nil, err
	}
	frame, err := decode(data)
	if err != nil {
		return nil, err
	}
	if _, ok := frame[member]; !ok {
		return nil, errors.New("unexpected frame")
	}
	return decode(frame[member].bytes)
}

func (p *pipes) send(member uint64, body []byte) error {
	message := putBytes(make([]byte, 5, len(body)+16), member, body)
	binary.BigEndian.PutUint32(message[1:], uint32(len(message)-5))
	_, err := p.out.Write(message)
	return err
}

// serve answers calls with what handle makes of them, until there are no more.
func serve(runtime string, handle func(topic string, payload []byte) ([]byte, error)) error {
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	p := pipes{bufio.NewReaderSize(os.NewFile(3, "calls"), 65536), os.NewFile(4, "replies"), 65536}
	hello, err := p.read(1)
	if err != nil {
		return err
	}
	if hello[1].number != 1 {
		p.send(1, putBytes(putNumber(nil, 1, 1), 7, []byte("it speaks version 1 only")))
		return errors.New("another version")
	}
	p.max = hello[2].number
	if err := p.send(1, putBytes(putNumber(nil, 1, 1), 6, []byte(runtime))); err != nil {
		return err
	}
	for {
		call, err := p.read(2)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		message, err := decode(call[2].bytes)
		if err != nil {
			return err
		}
		var result []byte
		kind := "Unknown"
		if string(message[11].bytes) != string(hello[3].bytes) {
			err = errors.New("Exception calling application: function not found")
		} else if result, err = handle(string(message[3].bytes), message[4].bytes); err == nil &&
			uint64(len(result))+32 > p.max {
			err = fmt.Errorf("grpc: received message larger than max (%d vs. %d)", len(result)+32, p.max)
			kind = "ResourceExhausted"
		}
		reply := putNumber(nil, 1, call[1].number)
		if err != nil {
			reply = putBytes(reply, 3, putBytes(putBytes(nil, 1, []byte(err.Error())), 2, []byte(kind)))
		} else {
			reply = putBytes(reply, 2, result)
		}
		if err := p.send(3, reply); err != nil {
			return err
		}
	}
}

// ---- The function ----

type extremes struct {
	Topic string  `json:"topic"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	N     int     `json:"n"`
}

func main() {
	seen := map[string]*extremes{}
	err := serve("extremes 1", func(topic string, payload []byte) ([]byte, error) {
		var event struct{ Value *float64 }
		if err := json.Unmarshal(payload, &event); err != nil {
			return nil, err
		}
		if event.Value == nil {
			return nil, nil // nothing is published
		}
		e := seen[topic]
		if e == nil {
			log.Printf("first value of %s", topic) // goes to Baetyl's log
			e = &extremes{topic, *event.Value, *event.Value, 0}
			seen[topic] = e
		}
		e.Low, e.High, e.N = math.Min(e.Low, *event.Value), math.Max(e.High, *event.Value), e.N+1
		return json.Marshal(e)
	})
	if err != nil {
		log.Fatal(err)
	}
}
