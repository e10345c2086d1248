package engine

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// Subjects of a room: room.<partition>.<name> is where it is stored, live.<partition>.<name>
// where the store republishes it. The name stands in unpadded URL base64, so that no byte of a
// user's reaches a subject as it is.
const (
	roomPrefix = "room."
	livePrefix = "live."
)

var nameEncoding = base64.RawURLEncoding

// place is where a room lies.
type place struct {
	room    string
	part    *partition
	subject string // room.<p>.<name>
}

// live is the subject of the room's live copies.
func (p place) live() string { return livePrefix + p.subject[len(roomPrefix):] }

func (e *Engine) place(room string) place {
	part := e.parts[partitionOf(room, e.cfg.Partitions)]
	b := make([]byte, 0, 128)
	b = append(b, part.roomPrefix...)
	b = nameEncoding.AppendEncode(b, []byte(room))
	return place{room: room, part: part, subject: string(b)}
}

// partitionOf spreads rooms by FNV-1a. It is part of the format of a data directory.
func partitionOf(room string, n int) int {
	h := uint32(2166136261)
	for i := range len(room) {
		h = (h ^ uint32(room[i])) * 16777619
	}
	return int(h % uint32(n))
}

// roomOf reads the name back from a subject of either kind.
func roomOf(subject string) (string, error) {
	name, err := nameEncoding.DecodeString(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return "", fmt.Errorf("subject %q holds no room: %w", subject, err)
	}
	return string(name), nil
}

const streamPrefix = "rooms_"

func streamName(p int) string { return streamPrefix + strconv.Itoa(p) }

// messageID is the key by which the store finds a repeated id: 22 characters that depend on the
// room, the sender and the id, each with its length in front so that no two triples look alike.
func messageID(room, from, id string) string {
	b := make([]byte, 0, 256)
	for _, s := range [...]string{room, from, id} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return nameEncoding.EncodeToString(sum[:16])
}
