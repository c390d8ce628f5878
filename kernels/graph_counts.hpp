// How a rank's work reached its device as graphs (Operations::as_graphs).
#pragma once

#include <cstdint>

namespace collie {

struct GraphCounts {
  int64_t launched = 0;
  int64_t made = 0;     // of those launched, for the first time or because the work had changed too much
  int64_t updated = 0;  // the others: made before, with new arguments

  GraphCounts& operator+=(const GraphCounts& other) {
    launched += other.launched;
    made += other.made;
    updated += other.updated;
    return *this;
  }
};

}  // namespace collie
