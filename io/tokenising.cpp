#include "io/tokenising.hpp"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/limits.hpp"
#include "io/data_pieces.hpp"
#include "io/token_cache.hpp"
#include "io/utf8.hpp"
#include "kernels/cpu/arena.hpp"

namespace collie {

namespace {

constexpr size_t piece_bytes = size_t{1} << 18;
constexpr int pieces_a_thread = 4;
constexpr size_t worth_threads = size_t{16} << 10;  // bytes; less is done before threads have started
// A batch ends early behind a piece that is much larger than others.
constexpr uint64_t most_batch_bytes = uint64_t{64} << 20;

// A line that stands for an error although data.max_bad_lines may allow others.
class Unreadable : public UserError {
 public:
  using UserError::UserError;
};

struct Piece {
  size_t task = 0;
  DataPiece data;
  bool ends_file = false;  // nothing of the file follows, and `data` is empty
  // What came of it.
  std::vector<Document> documents;
  std::vector<std::string> bad_lines;  // of each the message
  DataFindings findings;
  std::exception_ptr failure;  // behind all of these
};

// Gives the pieces of all files in order.
class PieceReader {
 public:
  explicit PieceReader(const std::vector<TokenisingTask>& tasks) : tasks_(tasks) {}

  // Up to `count` pieces; none at the end. An error is put in its place, as a piece.
  std::vector<Piece> next_batch(size_t count) {
    std::vector<Piece> batch;
    uint64_t bytes = 0;
    while (batch.size() < count && bytes < most_batch_bytes && at_ < tasks_.size()) {
      Piece& piece = batch.emplace_back();
      piece.task = at_;
      try {
        read(piece);
      } catch (...) {
        piece.failure = std::current_exception();
        at_ = tasks_.size();
      }
      bytes += piece.data.text.size();
    }
    return batch;
  }

  uint64_t bytes_read() const { return done_ + (file_ ? file_->bytes_read() : 0); }
  const std::string& path() const { return tasks_[std::min(at_, tasks_.size() - 1)].file.path; }

 private:
  void read(Piece& piece) {
    const DataFile& file = tasks_[at_].file;
    if (!file_) {
      failpoint("data.tokenise");
      const bool by_line = dataset_formats().find(file.source.format).by_line;
      file_ = std::make_unique<DataPieces>(
          file.path, by_line ? DataPieces::Cut::lines : DataPieces::Cut::never, piece_bytes);
    }
    if (file_->next(piece.data)) return;
    piece.ends_file = true;
    done_ += file_->bytes_read();
    file_.reset();
    ++at_;
  }

  const std::vector<TokenisingTask>& tasks_;
  size_t at_ = 0;
  std::unique_ptr<DataPieces> file_;
  uint64_t done_ = 0;  // bytes of files that are read
};

void check_utf8(std::string_view text, const std::string& path, uint64_t first_byte) {
  if (const auto offset = first_invalid_utf8(text))
    throw Unreadable("{}: it is not valid UTF-8 at byte {} (0x{:02X}); data files must be UTF-8", path,
                     first_byte + *offset, static_cast<unsigned>(static_cast<unsigned char>(text[*offset])));
}

void refuse_overlong(const std::string& place, uint64_t bytes) {
  throw UserError("{}: the line has {} bytes; a sample of at most {} is wanted, on a line of its own", place,
                  bytes, longest_line);
}

// Makes the documents of pieces of one file.
class PieceTokeniser {
 public:
  PieceTokeniser(const TokenisingTask& task, const Tokenizer& tokenizer, int64_t max_bad_lines)
      : file_(task.file),
        format_(dataset_formats().find(file_.source.format)),
        tokenizer_(tokenizer),
        max_bad_lines_(max_bad_lines) {}

  void operator()(Piece& piece) const {
    try {
      if (format_.by_line)
        read_lines(piece);
      else
        read_whole(piece);
    } catch (...) {
      piece.failure = std::current_exception();
    }
    piece.data.text = std::string();
  }

 private:
  void read_whole(Piece& piece) const {
    check_utf8(piece.data.text, file_.path, 0);
    read({file_.path, piece.data.text}, piece);
  }

  void read_lines(Piece& piece) const {
    if (piece.data.overlong > 0)
      return try_line(piece, [&] { refuse_overlong(place_of(piece.data.first_line), piece.data.overlong); });
    std::string_view rest = piece.data.text;
    for (int64_t line = piece.data.first_line; !rest.empty(); ++line) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view text = rest.substr(0, end);
      const auto byte = piece.data.first_byte + static_cast<uint64_t>(text.data() - piece.data.text.data());
      rest.remove_prefix(std::min(end + 1, rest.size()));
      check_utf8(text, file_.path, byte);
      if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      try_line(piece, [&] {
        if (text.size() > longest_line) refuse_overlong(place_of(line), text.size());
        read({place_of(line), text}, piece);
      });
    }
  }

  std::string place_of(int64_t line) const { return fmt::format("{}:{}", file_.path, line); }

  void read(const DataRecord& record, Piece& piece) const {
    format_.read(
        file_, record, tokenizer_, [&](Document document) { piece.documents.push_back(std::move(document)); },
        piece.findings);
  }

  // A bad line leaves nothing behind but its message.
  template <class Read>
  void try_line(Piece& piece, Read read) const {
    const size_t documents = piece.documents.size();
    const DataFindings findings = piece.findings;
    try {
      read();
    } catch (const Unreadable&) {
      throw;
    } catch (const UserError& error) {
      piece.documents.resize(documents);
      piece.findings = findings;
      piece.bad_lines.emplace_back(error.what());
      // Behind more than are allowed nothing of the file counts.
      if (static_cast<int64_t>(piece.bad_lines.size()) > max_bad_lines_) throw;
    }
  }

  const DataFile& file_;
  const DatasetFormat format_;
  const Tokenizer& tokenizer_;
  int64_t max_bad_lines_;
};

// Takes the pieces in order, and writes the caches.
class CacheWriter {
 public:
  CacheWriter(const std::vector<TokenisingTask>& tasks, int64_t max_bad_lines)
      : tasks_(tasks), max_bad_lines_(max_bad_lines) {}

  void take(Piece& piece) {
    const TokenisingTask& task = tasks_[piece.task];
    if (!writer_) writer_.emplace(task.cache, task.key);
    findings_.append(piece.findings);
    for (const std::string& message : piece.bad_lines) count_bad(message);
    if (piece.failure) std::rethrow_exception(piece.failure);
    for (const Document& document : piece.documents) writer_->add(document.tokens, document.targets);
    if (!piece.ends_file) return;
    writer_->finish(findings_.to_text(task.file.path));
    writer_.reset();
    findings_ = {};
    bad_ = 0;
  }

 private:
  void count_bad(const std::string& message) {
    ++bad_;
    if (bad_ > max_bad_lines_ && max_bad_lines_ == 0) throw UserError("{}", message);
    if (bad_ > max_bad_lines_)
      throw UserError("{}; it is bad line {} of this file, and data.max_bad_lines is {}", message, bad_,
                      max_bad_lines_);
    findings_.add(DataFindings::Kind::bad_line, message);
  }

  const std::vector<TokenisingTask>& tasks_;
  int64_t max_bad_lines_, bad_ = 0;
  std::optional<TokenCacheWriter> writer_;
  DataFindings findings_;
};

size_t bytes_of(const std::vector<Piece>& batch) {
  size_t bytes = 0;
  for (const Piece& piece : batch) bytes += piece.data.text.size();
  return bytes;
}

}  // namespace

void tokenise(const std::vector<TokenisingTask>& tasks, const Tokenizer& tokenizer,
              const TokenisingOptions& options) {
  if (tasks.empty()) return;
  std::vector<PieceTokeniser> tokenisers;
  for (const TokenisingTask& task : tasks) tokenisers.emplace_back(task, tokenizer, options.max_bad_lines);
  PieceReader reader(tasks);
  CacheWriter writer(tasks, options.max_bad_lines);
  std::optional<cpu::Arena> arena;
  const auto most = static_cast<size_t>(options.threads * pieces_a_thread);
  std::vector<Piece> batch = reader.next_batch(most), next;
  while (!batch.empty()) {
    const auto pieces = static_cast<int64_t>(batch.size());
    if (!arena && pieces > 2 && options.threads > 1 && bytes_of(batch) >= worth_threads) {
      check_room({options.threads - 1, 0, 0});
      arena.emplace(options.threads);
    }
    // The next pieces are read meanwhile.
    auto work = [&](int64_t i) {
      if (i == 0) {
        next = reader.next_batch(most);
      } else if (Piece& piece = batch[static_cast<size_t>(i - 1)]; !piece.failure && !piece.ends_file) {
        tokenisers[piece.task](piece);
      }
    };
    if (arena)
      arena->for_each(pieces + 1, work);
    else
      for (int64_t i = 0; i <= pieces; ++i) work(i);
    for (Piece& piece : batch) writer.take(piece);
    if (options.progress) options.progress(reader.bytes_read(), reader.path());
    batch = std::move(next);
    next.clear();
  }
}

}  // namespace collie
