// Verifies a log with golang.org/x/mod/sumdb: the signed note, the tiles fetched by HTTP under their C2SP paths, and
// inclusion and consistency proofs. Reads a case as JSON from standard input; says what is wrong and exits with 1.
package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type suite struct {
	VerifierKey string
	Base        string
	Proofs      []struct {
		Index  int64
		Entry  string
		Hashes []string
	}
	Consistency []struct {
		From, To         int64
		FromRoot, ToRoot string
		Hashes           []string
	}
}

func main() {
	var given suite
	check(json.NewDecoder(os.Stdin).Decode(&given))
	verifier, err := note.NewVerifier(given.VerifierKey)
	check(err)
	opened, err := note.Open(get(given.Base+"/checkpoint"), note.VerifierList(verifier))
	check(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	tree := tlog.Tree{N: size, Hash: hash(lines[2])}

	// Whatever this reader returns was checked against the signed root.
	reader := tlog.TileHashReader(tree, tiles{given.Base})
	for _, each := range given.Proofs {
		entry, err := base64.StdEncoding.DecodeString(each.Entry)
		check(err)
		check(tlog.CheckRecord(hashes(each.Hashes), tree.N, tree.Hash, each.Index, tlog.RecordHash(entry)))
		own, err := tlog.ProveRecord(tree.N, each.Index, reader)
		check(err)
		same(own, hashes(each.Hashes))
	}
	for _, each := range given.Consistency {
		check(tlog.CheckTree(hashes(each.Hashes), each.To, hash(each.ToRoot), each.From, hash(each.FromRoot)))
		own, err := tlog.ProveTree(each.To, each.From, reader)
		check(err)
		same(own, hashes(each.Hashes))
	}
	fmt.Printf("{\"size\":%d,\"proofs\":%d,\"consistency\":%d}\n", size, len(given.Proofs), len(given.Consistency))
}

type tiles struct{ base string }

func (tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var read [][]byte
	for _, tile := range wanted {
		// Go's paths name the height, C2SP's do not.
		read = append(read, get(t.base+"/"+strings.Replace(tile.Path(), "tile/8/", "tile/", 1)))
	}
	return read, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func get(url string) []byte {
	response, err := http.Get(url)
	check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err)
	if response.StatusCode != http.StatusOK {
		check(fmt.Errorf("%s: %s", url, response.Status))
	}
	return body
}

func hash(text string) (decoded tlog.Hash) {
	bytes, err := base64.StdEncoding.DecodeString(text)
	check(err)
	copy(decoded[:], bytes)
	return decoded
}

func hashes(texts []string) []tlog.Hash {
	decoded := make([]tlog.Hash, len(texts))
	for i, text := range texts {
		decoded[i] = hash(text)
	}
	return decoded
}

func same(a, b []tlog.Hash) {
	if len(a) != len(b) {
		check(fmt.Errorf("expected %d hashes, got %d", len(a), len(b)))
	}
	for i := range a {
		if a[i] != b[i] {
			check(fmt.Errorf("hash %d differs", i))
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
