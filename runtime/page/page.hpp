// The page of a run, summary.html: its curves, where time and memory went, and what the ranks did in one
// step. It is one file that needs no network.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/messages.hpp"
#include "runtime/program.hpp"

namespace collie {

inline constexpr const char* summary_page_name = "summary.html";

struct RunPage {
  std::string name;                                        // run.name
  std::string status;                                      // "completed after step 200", for people
  std::vector<std::pair<std::string, std::string>> facts;  // what and how much, for people
  std::vector<nlohmann::json> records;                     // of metrics.jsonl
  std::vector<RankSummary> ranks;                          // [ranks]; empty: none has reported
  std::vector<double> busy_s;                              // [ranks]
  double wall_s = 0;
  int64_t traced_step = 0;
  std::vector<ProgramDone> traced;  // [ranks]; empty: no step was traced
  std::string configuration;        // YAML
};

std::string html_of(const RunPage& page);

// The records of metrics.jsonl. A line that is none is left out.
std::vector<nlohmann::json> records_in(const std::string& path);

}  // namespace collie
