// Whatever has become of a file, its reader takes it or refuses it with a message: no crash, no other
// exception, no long wait, no memory beyond bounds. COLLIE_HOSTILE_FILES is how many files of all formats
// together are tried (1,000 unless it is set), COLLIE_HOSTILE_SEED where the seeds begin.
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <vector>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "tests/catch.hpp"
#include "tests/hostile/formats.hpp"
#include "tests/hostile/mutate.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double longest_s = 20;          // a reader, on a machine that does other things, too
constexpr size_t longest_message = 4096;  // paths are part of it
constexpr double most_memory_mib = 600;

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

double peak_memory_mib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

enum class Outcome { accepted, refused, fault };

struct Trial {
  Outcome outcome = Outcome::accepted;
  std::string message;
};

Trial try_file(const FileFormat& format, const std::string& contents) {
  const ScratchFolder folder;
  try {
    format.read(folder.path(), contents);
    return {};
  } catch (const UserError& error) {
    return {Outcome::refused, error.what()};
  } catch (const std::exception& error) {
    return {Outcome::fault, error.what()};
  }
}

struct Counts {
  int accepted = 0, refused = 0, faults = 0;
  double slowest_s = 0;

  void add(Outcome outcome, double took_s) {
    ++(outcome == Outcome::accepted ? accepted : outcome == Outcome::refused ? refused : faults);
    slowest_s = std::max(slowest_s, took_s);
  }
  std::string words() const {
    return fmt::format("{} accepted, {} refused, {} faults, the slowest {:.2f} s", accepted, refused, faults,
                       slowest_s);
  }
};

// The readers warn about what they pass over.
class Silence {
 public:
  Silence() : before_(spdlog::get_level()) { spdlog::set_level(spdlog::level::off); }
  ~Silence() { spdlog::set_level(before_); }

 private:
  spdlog::level::level_enum before_;
};

}  // namespace

TEST_CASE("the examples of all formats are accepted") {
  const Silence silence;
  for (const FileFormat& format : file_formats()) {
    const Trial trial = try_file(format, format.example);
    INFO(format.name << ": " << trial.message);
    CHECK(trial.outcome == Outcome::accepted);
  }
}

TEST_CASE("mutated files of every format are accepted or refused with a short message") {
  const Silence silence;
  const uint64_t count = number_of("COLLIE_HOSTILE_FILES", 1000);
  const uint64_t first = number_of("COLLIE_HOSTILE_SEED", 1);
  const std::vector<FileFormat>& formats = file_formats();
  std::vector<Counts> counts(formats.size());
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const size_t number = seed % formats.size();
    const FileFormat& format = formats[number];
    const std::string contents = mutated(format.example, seed);
    const double start = seconds();
    const Trial trial = try_file(format, contents);
    const double took = seconds() - start;
    counts[number].add(trial.outcome, took);
    INFO(format.name << ", COLLIE_HOSTILE_FILES=1 COLLIE_HOSTILE_SEED=" << seed << ", " << took
                     << " s: " << shortened(trial.message, 1000) << "\n"
                     << shortened(contents, 2000));
    CHECK(trial.outcome != Outcome::fault);
    CHECK(trial.message.size() <= longest_message);
    CHECK(took < longest_s);
    // No change of a manifest may pass.
    if (format.name == "checkpoint manifest" && trial.outcome == Outcome::accepted)
      CHECK(contents == format.example);
  }
  for (size_t number = 0; number < formats.size(); ++number)
    fmt::print("{}: {}\n", formats[number].name, counts[number].words());
  const double peak_mib = peak_memory_mib();
  fmt::print("{} mutated files, {:.0f} MiB at the peak\n", count, peak_mib);
  CHECK(peak_mib < most_memory_mib);
}
