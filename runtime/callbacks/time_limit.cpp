// Ends a run cleanly before a batch system kills it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

constexpr const char* job_end_variable = "SLURM_JOB_END_TIME";  // seconds since 1970

// Seconds from now until the job's end. That the variable is set has been checked.
double until_job_end() {
  const char* const text = std::getenv(job_end_variable);
  const std::string_view digits = text == nullptr ? "" : text;
  int64_t end = 0;
  const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), end);
  if (error != std::errc() || last != digits.data() + digits.size())
    throw UserError("callbacks: time_limit: {} is '{}'; seconds since 1970 are wanted", job_end_variable,
                    shortened(std::string(digits)));
  const double now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return static_cast<double>(end) - now;
}

class TimeLimit final : public Callback {
 public:
  explicit TimeLimit(const OptionValues& options)
      : reserve_s_(60 * options.number("reserve_minutes")),
        limit_s_(options.has("minutes") ? 60 * options.number("minutes") : until_job_end()) {}

  void on_step(const StepFinished& step) override {
    longest_s_ = std::max(longest_s_, static_cast<double>(step.step_s));
    check();
  }
  void on_evaluation(const EvaluationFinished&) override { check(); }

 private:
  // The next step may take as long as the longest one did.
  void check() {
    if (run().running_s() + longest_s_ + reserve_s_ < limit_s_) return;
    run().stop(
        fmt::format("time_limit: {:.0f} s of {:.0f} s are over; a step takes up to {:.1f} s, and {:.0f} "
                    "s are left for the last checkpoint",
                    run().running_s(), limit_s_, longest_s_, reserve_s_));
  }

  double reserve_s_, limit_s_, longest_s_ = 0;
};

}  // namespace

std::unique_ptr<Callback> make_time_limit(const OptionValues& options) {
  return std::make_unique<TimeLimit>(options);
}

}  // namespace collie
