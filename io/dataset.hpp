// Tokenised documents, memory-mapped. The global order of a run is defined over them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "io/tokenizer.hpp"

namespace collie {

class PositionalFile;

// Tokens [begin, end) of a document.
struct TokenSpan {
  int32_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

// A document of n tokens has n - 1 pairs of input and target: pair j reads token j and predicts token j + 1,
// which is a target if it lies in one of the spans (a prompt, and what others than the assistant say, do
// not).
struct DocumentView {
  std::span<const int32_t> tokens;     // [n]
  std::span<const TokenSpan> targets;  // ascending, apart, none empty

  int64_t pairs() const { return tokens.empty() ? 0 : static_cast<int64_t>(tokens.size()) - 1; }
  // The number of targets among pairs [first, first + count).
  int64_t target_count(int64_t first, int64_t count) const;
};

// Documents of one file, or documents made in memory. A Dataset consists of such blocks.
struct DocumentBlock {
  std::span<const int32_t> tokens;        // [T] of all documents
  std::span<const uint64_t> offsets;      // [D + 1] into tokens, from 0 to T
  std::span<const TokenSpan> targets;     // [S] of all documents
  std::span<const uint64_t> first_spans;  // [D + 1] into targets, from 0 to S
  std::shared_ptr<const void> owner;      // keeps the memory alive
  // Where the tokens are in a file that `tokens` maps: many of them are read there, since pages of a mapping
  // that have been touched count as memory of the process. Null: only in memory.
  std::shared_ptr<const PositionalFile> file = nullptr;
  uint64_t first_byte = 0;

  DocumentView document(size_t index) const;
};

// One source of a data set, and what came of it.
struct DatasetSource {
  std::string path;      // as configured
  std::string settings;  // how its files were read: "format: jsonl, text: t"
  std::string contents;  // SHA-256 over its files, hexadecimal
  size_t blocks = 0;     // of the data set
  int64_t documents = 0, tokens = 0, pairs = 0, targets = 0;
};

// The documents of all sources in their natural order: sources as configured, files sorted bytewise,
// documents as in the file. It is immutable, so threads may share it.
class Dataset {
 public:
  // Throws UserError if no document has a target; `name` ("data.train") is used in messages. `fingerprint` is
  // described below; a data set made by hand need not have one.
  Dataset(std::vector<DocumentBlock> blocks, std::string name, std::string fingerprint = "");
  // The same with several sources: the blocks of one after those of another, as many as `blocks` of each
  // says. Counts the rest.
  Dataset(std::vector<DocumentBlock> blocks, std::vector<DatasetSource> sources, std::string name,
          std::string fingerprint = "");

  const std::string& name() const { return name_; }
  // Hexadecimal SHA-256 over the contents of all data files, how they were read, and the tokenizer. The paths
  // do not count.
  const std::string& fingerprint() const { return fingerprint_; }
  const std::vector<DatasetSource>& sources() const { return sources_; }  // at least one
  size_t source_of(int64_t document) const;                               // an index into sources()
  int64_t document_count() const { return document_count_; }
  int64_t token_count() const { return token_count_; }
  int64_t pair_count() const { return pair_count_; }      // inputs per epoch
  int64_t target_count() const { return target_count_; }  // pairs per epoch whose target is not masked
  DocumentView document(int64_t index) const;

  // Fills `out` with the tokens from number `first` on of a document. Throws UserError naming the cache if it
  // cannot be read.
  void read_tokens(int64_t document, int64_t first, std::span<int32_t> out) const;

 private:
  struct Place {  // of a document
    const DocumentBlock& block;
    size_t index;
  };
  Place find(int64_t document) const;

  std::string name_, fingerprint_;
  std::vector<DocumentBlock> blocks_;
  std::vector<DatasetSource> sources_;
  std::vector<int64_t> first_document_;  // [blocks + 1]
  int64_t document_count_ = 0, token_count_ = 0, pair_count_ = 0, target_count_ = 0;
};

// One document as a data set format makes it (also tests, host programs).
struct Document {
  std::vector<int32_t> tokens;
  std::vector<TokenSpan> targets;  // as in DocumentView
};
// The tokens from number `first` on are targets.
Document document_from(std::vector<int32_t> tokens, int64_t first);
// Throws a programmer's error if the spans are not what DocumentView says.
void check_spans(size_t tokens, std::span<const TokenSpan> targets);
DocumentBlock make_block(const std::vector<Document>& documents);

struct DatasetOptions {
  std::string name;  // the configuration key of the sources ("data.train"), for messages
  std::filesystem::path tokenizer_folder = "";  // where the chat template is
  int64_t max_bad_lines = 0;                    // data.max_bad_lines
  int threads = 1;                              // to tokenise with
  bool shows_progress = false;                  // on standard error, while files are tokenised
};

// Tokenises `sources` with `tokenizer`, once. The result is kept under `cache_folder`, which is made if it is
// absent, keyed by the contents of the data file, the tokenizer and the source's settings. Later calls map
// it, and warn again of what was found. Several processes may call it at once. Throws UserError (file, line
// or byte offset, what was found, what would be right).
std::shared_ptr<const Dataset> open_dataset(const std::vector<DataSource>& sources,
                                            const Tokenizer& tokenizer,
                                            const std::filesystem::path& cache_folder,
                                            const DatasetOptions& options);

}  // namespace collie
