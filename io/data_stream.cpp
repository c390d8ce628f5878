#include "io/data_stream.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "io/positional_file.hpp"

namespace collie {

namespace {

constexpr size_t input_bytes = size_t{1} << 18;
constexpr uint64_t most_unpacked = uint64_t{1} << 40;

[[noreturn]] void refuse_damaged(const std::string& path, const char* kind, const std::string& reason) {
  throw UserError("{}: it is compressed by {}, and damaged: {}", path, kind, reason);
}

}  // namespace

class DataStream::Source {
 public:
  explicit Source(const std::string& path) : name(path), file(path) {}

  size_t read(std::span<char> out) {
    const auto count = static_cast<size_t>(std::min<uint64_t>(out.size(), file.size() - position));
    file.read(position, std::as_writable_bytes(out.first(count)));
    position += count;
    return count;
  }

  std::string name;
  PositionalFile file;
  uint64_t position = 0;
};

// gzip files may have several members, one after another.
class DataStream::Gzip {
 public:
  explicit Gzip(Source& source) : source_(source), input_(input_bytes) {
    COLLIE_ASSERT(inflateInit2(&stream_, 15 + 16) == Z_OK, "zlib cannot start");
  }
  ~Gzip() { inflateEnd(&stream_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  size_t read(std::span<char> out) {
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = static_cast<uInt>(out.size());
    while (stream_.avail_out == out.size()) {
      if (stream_.avail_in == 0 && !refill()) {
        if (result_ != Z_STREAM_END) refuse_damaged(source_.name, "gzip", "it ends too early");
        return 0;
      }
      if (result_ == Z_STREAM_END) inflateReset(&stream_);
      result_ = inflate(&stream_, Z_NO_FLUSH);
      if (result_ != Z_OK && result_ != Z_STREAM_END && result_ != Z_BUF_ERROR)
        refuse_damaged(source_.name, "gzip", stream_.msg ? stream_.msg : "zlib cannot read it");
    }
    return out.size() - stream_.avail_out;
  }

 private:
  bool refill() {
    const size_t count = source_.read(input_);
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(count);
    return count > 0;
  }

  Source& source_;
  std::vector<char> input_;
  z_stream stream_{};
  int result_ = Z_OK;
};

class DataStream::Zstandard {
 public:
  explicit Zstandard(Source& source) : source_(source), input_(input_bytes), stream_(ZSTD_createDStream()) {
    COLLIE_ASSERT(stream_ != nullptr, "Zstandard cannot start");
  }
  ~Zstandard() { ZSTD_freeDStream(stream_); }
  Zstandard(const Zstandard&) = delete;
  Zstandard& operator=(const Zstandard&) = delete;

  size_t read(std::span<char> out) {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    while (output.pos == 0) {
      if (given_.pos == given_.size && !full_) {
        given_ = {input_.data(), source_.read(input_), 0};
        if (given_.size == 0) {
          if (expected_ != 0) refuse_damaged(source_.name, "Zstandard", "it ends too early");
          return 0;
        }
      }
      expected_ = ZSTD_decompressStream(stream_, &output, &given_);
      if (ZSTD_isError(expected_)) refuse_damaged(source_.name, "Zstandard", ZSTD_getErrorName(expected_));
      full_ = output.pos == output.size;  // it may have more of what it was given
    }
    return output.pos;
  }

 private:
  Source& source_;
  std::vector<char> input_;
  ZSTD_DStream* stream_;
  ZSTD_inBuffer given_{nullptr, 0, 0};
  size_t expected_ = 0;  // not 0: the frame goes on
  bool full_ = false;
};

DataStream::DataStream(const std::string& path) : source_(std::make_unique<Source>(path)) {
  std::vector<char> begin(4);
  begin.resize(source_->read(begin));
  source_->position = 0;
  const std::string_view magic(begin.data(), begin.size());
  if (magic.substr(0, 2) == "\x1F\x8B") gzip_ = std::make_unique<Gzip>(*source_);
  if (magic == "\x28\xB5\x2F\xFD") zstandard_ = std::make_unique<Zstandard>(*source_);
}

DataStream::~DataStream() = default;

const std::string& DataStream::path() const {
  return source_->name;
}
uint64_t DataStream::file_bytes() const {
  return source_->file.size();
}
uint64_t DataStream::bytes_read() const {
  return source_->position;
}

size_t DataStream::read(std::span<char> out) {
  out = out.first(std::min(out.size(), size_t{1} << 30));  // zlib counts in 32 bits
  if (out.empty()) return 0;
  const size_t count = gzip_ ? gzip_->read(out) : zstandard_ ? zstandard_->read(out) : source_->read(out);
  given_ += count;
  if ((gzip_ || zstandard_) && given_ > most_unpacked)
    throw UserError("{}: it unpacks to more than {} bytes", path(), most_unpacked);
  return count;
}

}  // namespace collie
