// Counts how a rank's work reached its device as graphs (Operations::as_graphs).
#pragma once

#include <cstdint>

namespace collie {

struct GraphCounts {
  int64_t launched = 0;
  int64_t made = 0;     // launched ones that are new, or made again because the work changed too much
  int64_t updated = 0;  // the other launched ones: made before, with new arguments

  GraphCounts& operator+=(const GraphCounts& other) {
    launched += other.launched;
    made += other.made;
    updated += other.updated;
    return *this;
  }
};

}  // namespace collie
