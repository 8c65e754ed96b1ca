// Command verify_audit checks an exported Tradelane audit log with code that shares nothing with Tradelane: the Go
// checksum database's own libraries (golang.org/x/mod/sumdb/tlog and note), which are public and widely relied on.
//
//	verify_audit -dir EXPORT -key VKEY [-older CHECKPOINT_FILE] [-receipt FILE]...
//
// It checks the checkpoint's signature; that the entries hash to the signed root; that every leaf's inclusion can be
// proved from the published tiles; and that the log continues an older checkpoint. Receipts (C2SP tlog-proof) are
// checked by themselves. Exit 0: all holds. Exit 1: what does not is printed.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

// commitmentTag separates Tradelane's commitments from other uses of SHA-256 (docs/formats/audit.md).
const commitmentTag = "tradelane.leaf.1"

type paths []string

func (p *paths) String() string     { return strings.Join(*p, ",") }
func (p *paths) Set(s string) error { *p = append(*p, s); return nil }

func main() {
	dir := flag.String("dir", "", "exported log: holds checkpoint and tile/")
	key := flag.String("key", "", "the log's verifier key")
	older := flag.String("older", "", "file with an older checkpoint")
	var receipts paths
	flag.Var(&receipts, "receipt", "receipt to check (may be repeated)")
	flag.Parse()
	if err := run(*dir, *key, *older, receipts); err != nil {
		fmt.Fprintln(os.Stderr, "verify_audit:", err)
		os.Exit(1)
	}
}

func run(dir, key, older string, receipts []string) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if dir != "" {
		if err := checkLog(dir, older, verifier); err != nil {
			return err
		}
	}
	for _, file := range receipts {
		if err := checkReceipt(file, verifier); err != nil {
			return fmt.Errorf("receipt %s: %w", file, err)
		}
	}
	return nil
}

func checkLog(dir, older string, verifier note.Verifier) error {
	tree, err := openCheckpoint(filepath.Join(dir, "checkpoint"), verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	leaves, err := checkEntries(dir, tree)
	if err != nil {
		return err
	}
	reader := tlog.TileHashReader(tree, tiles{dir})
	for index, leaf := range leaves {
		proof, err := tlog.ProveRecord(tree.N, int64(index), reader)
		if err != nil {
			return fmt.Errorf("leaf %d: the tiles give no proof: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), leaf); err != nil {
			return fmt.Errorf("leaf %d is not included: %w", index, err)
		}
	}
	fmt.Printf("%d leaves included in the signed tree\n", tree.N)
	if older == "" {
		return nil
	}
	old, err := openCheckpoint(older, verifier)
	if err != nil {
		return fmt.Errorf("older checkpoint: %w", err)
	}
	if old.N == 0 || old.N > tree.N {
		return fmt.Errorf("the older checkpoint has %d leaves, the log %d", old.N, tree.N)
	}
	proof, err := tlog.ProveTree(tree.N, old.N, reader)
	if err != nil {
		return fmt.Errorf("consistency: the tiles give no proof: %w", err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("the log does not continue the older checkpoint: %w", err)
	}
	fmt.Printf("consistent with the older checkpoint of %d leaves\n", old.N)
	return nil
}

// checkEntries recomputes the root from all entries and returns the leaf hashes.
func checkEntries(dir string, tree tlog.Tree) ([]tlog.Hash, error) {
	var stored hashes
	var leaves []tlog.Hash
	for first := int64(0); first < tree.N; first += 1 << tileHeight {
		width := min(tree.N-first, 1<<tileHeight)
		tile := tlog.Tile{H: tileHeight, L: -1, N: first >> tileHeight, W: int(width)}
		bundle, err := os.ReadFile(filepath.Join(dir, publishedPath(tile)))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle)-2 < int(binary.BigEndian.Uint16(bundle)) {
				return nil, fmt.Errorf("leaf %d: the entry bundle is cut short", first+i)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			added, err := tlog.StoredHashes(first+i, entry, stored)
			if err != nil {
				return nil, err
			}
			stored = append(stored, added...)
			leaves = append(leaves, tlog.RecordHash(entry))
		}
		if len(bundle) != 0 {
			return nil, fmt.Errorf("the entry bundle of leaf %d holds more than its leaves", first)
		}
	}
	root, err := tlog.TreeHash(tree.N, stored)
	if err != nil {
		return nil, err
	}
	if root != tree.Hash {
		// The tiles tell where, if they still are what was signed.
		for index, leaf := range leaves {
			proof, err := tlog.ProveRecord(tree.N, int64(index), tlog.TileHashReader(tree, tiles{dir}))
			if err != nil {
				return nil, fmt.Errorf("the entries do not hash to the signed root, nor do the tiles: %w", err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), leaf); err != nil {
				return nil, fmt.Errorf("leaf %d is not the one that was logged: %w", index, err)
			}
		}
		return nil, errors.New("the entries do not hash to the signed root")
	}
	return leaves, nil
}

func openCheckpoint(file string, verifier note.Verifier) (tlog.Tree, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	return parseCheckpoint(text, verifier)
}

func parseCheckpoint(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("it is another log's, or no checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, errors.New("it has no tree size")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

func checkReceipt(file string, verifier note.Verifier) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("it is no tlog-proof")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := parseCheckpoint([]byte(checkpoint), verifier)
	if err != nil {
		return err
	}
	entry := sha256.Sum256(append([]byte(commitmentTag), extra...))
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry[:])); err != nil {
		return err
	}
	fmt.Printf("receipt of leaf %d holds: %s\n", index, extra[min(16, len(extra)):])
	return nil
}

// hashes holds stored hashes in the order of tlog's own numbering.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(h)) {
			return nil, errors.New("hash out of range")
		}
		out[i] = h[index]
	}
	return out, nil
}

// tiles reads published tiles; TileHashReader authenticates what it gives.
type tiles struct{ dir string }

func (t tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(wanted))
	for i, tile := range wanted {
		data, err := os.ReadFile(filepath.Join(t.dir, publishedPath(tile)))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", publishedPath(tile), len(data))
		}
		out[i] = data
	}
	return out, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// publishedPath is tlog's path without the height, and with the entries where C2SP tlog-tiles puts them.
func publishedPath(tile tlog.Tile) string {
	path := strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", tileHeight))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}
