#include "io/unpacked_file.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "base/error.hpp"

namespace collie {

namespace {

constexpr size_t chunk_bytes = size_t{1} << 20;
constexpr uint64_t most_bytes = uint64_t{1} << 40;

using Write = std::function<void(const void* data, size_t bytes)>;

[[noreturn]] void refuse(const MappedFile& file, const char* kind, const std::string& reason) {
  throw UserError("{}: it is compressed by {}, and damaged: {}", file.path().string(), kind, reason);
}

// gzip files may have several members, one after another.
void unpack_gzip(const MappedFile& file, const Write& write) {
  z_stream stream{};
  COLLIE_ASSERT(inflateInit2(&stream, 15 + 16) == Z_OK, "zlib cannot start");
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> end(&stream, inflateEnd);
  std::vector<unsigned char> out(chunk_bytes);
  const auto bytes = file.bytes();
  size_t done = 0;  // bytes given to zlib
  int result = Z_OK;
  while (done < bytes.size() || stream.avail_in > 0) {
    if (stream.avail_in == 0) {
      const size_t next = std::min(chunk_bytes, bytes.size() - done);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data() + done));
      stream.avail_in = static_cast<uInt>(next);
      done += next;
    }
    if (result == Z_STREAM_END) inflateReset(&stream);
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    result = inflate(&stream, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
      refuse(file, "gzip", stream.msg ? stream.msg : "zlib cannot read it");
    write(out.data(), out.size() - stream.avail_out);
  }
  while (result == Z_OK && stream.avail_out == 0) {
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    result = inflate(&stream, Z_NO_FLUSH);
    write(out.data(), out.size() - stream.avail_out);
  }
  if (result != Z_STREAM_END) refuse(file, "gzip", "it ends too early");
}

void unpack_zstd(const MappedFile& file, const Write& write) {
  const std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream(ZSTD_createDStream(),
                                                                          ZSTD_freeDStream);
  std::vector<std::byte> out(chunk_bytes);
  ZSTD_inBuffer input{file.bytes().data(), file.bytes().size(), 0};
  size_t expected = 0;
  bool full = false;
  while (input.pos < input.size || full) {
    ZSTD_outBuffer output{out.data(), out.size(), 0};
    expected = ZSTD_decompressStream(stream.get(), &output, &input);
    if (ZSTD_isError(expected)) refuse(file, "Zstandard", ZSTD_getErrorName(expected));
    write(out.data(), output.pos);
    full = output.pos == output.size;
  }
  if (expected != 0) refuse(file, "Zstandard", "it ends too early");
}

enum class Kind { plain, gzip, zstd };

Kind kind_of(std::string_view text) {
  if (text.substr(0, 2) == "\x1F\x8B") return Kind::gzip;
  return text.substr(0, 4) == "\x28\xB5\x2F\xFD" ? Kind::zstd : Kind::plain;
}

// A file that is written, and closed at the end.
class Output {
 public:
  explicit Output(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (descriptor_ < 0) fail();
  }
  ~Output() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  void write(const void* data, size_t bytes) {
    written_ += bytes;
    if (written_ > most_bytes) throw UserError("{}: it unpacks to more than {} bytes", path_, most_bytes);
    for (size_t done = 0; done < bytes;) {
      const ssize_t count = ::write(descriptor_, static_cast<const char*>(data) + done, bytes - done);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail();
      done += static_cast<size_t>(count);
    }
  }

 private:
  [[noreturn]] void fail() const { throw RunError("cannot write {}: {}", path_, std::strerror(errno)); }

  std::string path_;
  int descriptor_ = -1;
  uint64_t written_ = 0;
};

}  // namespace

UnpackedFile::UnpackedFile(const MappedFile& file, const std::filesystem::path& cache) : text_(file.text()) {
  const Kind kind = kind_of(text_);
  if (kind == Kind::plain) return;
  temporary_ = fmt::format("{}.{}.unpacked", cache.string(), ::getpid());
  try {
    {
      Output output(temporary_);
      const Write write = [&](const void* data, size_t bytes) { output.write(data, bytes); };
      kind == Kind::gzip ? unpack_gzip(file, write) : unpack_zstd(file, write);
    }
    unpacked_ = MappedFile(temporary_);
  } catch (...) {
    ::unlink(temporary_.c_str());
    throw;
  }
  text_ = unpacked_.text();
}

UnpackedFile::~UnpackedFile() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

}  // namespace collie
