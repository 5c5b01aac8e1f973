// The collectives of an MPI library, timed on demand: a peer of benchmarks/collectives.py.
//
// Rank 0 reads lines "operation bytes repeats" and answers with the seconds of one call, the
// slowest rank's. Between orders the ranks sleep instead of polling, so that another peer has the
// cores to itself.
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void wait_asleep(MPI_Request* request) {
  const struct timespec nap = {0, 2000000};
  for (int done = 0; !done;) {
    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    if (!done) nanosleep(&nap, NULL);
  }
}

struct order {
  char operation[32];
  long bytes, repeats;
};

static void once(const struct order* o, int rank, int ranks, float* in, float* out) {
  const int all = (int)(o->bytes / sizeof(float)), part = all / ranks ? all / ranks : 1;
  if (!strcmp(o->operation, "all_reduce")) {
    MPI_Allreduce(in, out, all, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  } else if (!strcmp(o->operation, "all_gather")) {
    MPI_Allgather(in, part, MPI_FLOAT, out, part, MPI_FLOAT, MPI_COMM_WORLD);
  } else if (!strcmp(o->operation, "reduce_scatter")) {
    MPI_Reduce_scatter_block(in, out, part, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  } else if (!strcmp(o->operation, "broadcast")) {
    MPI_Bcast(in, all, MPI_FLOAT, 0, MPI_COMM_WORLD);
  } else if (!strcmp(o->operation, "all_to_all")) {
    MPI_Alltoall(in, part, MPI_FLOAT, out, part, MPI_FLOAT, MPI_COMM_WORLD);
  } else if (rank == 0) {
    fprintf(stderr, "mpi_collectives does not know the operation %s\n", o->operation);
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
}

int main(int argc, char** argv) {
  int rank, ranks;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  float *in = NULL, *out = NULL;
  long room = 0;
  for (;;) {
    struct order o = {"", 0, 0};
    if (rank == 0 && scanf("%31s %ld %ld", o.operation, &o.bytes, &o.repeats) != 3) o.repeats = 0;
    MPI_Request request;
    MPI_Ibcast(&o, sizeof o, MPI_BYTE, 0, MPI_COMM_WORLD, &request);
    wait_asleep(&request);
    if (o.repeats <= 0) break;
    // Both buffers are in place and touched before anything is timed.
    const long needed = o.bytes + (long)sizeof(float) * ranks;
    if (needed > room) {
      free(in);
      free(out);
      room = (needed + 4095) / 4096 * 4096;
      in = aligned_alloc(4096, (size_t)room);
      out = aligned_alloc(4096, (size_t)room);
      if (!in || !out) MPI_Abort(MPI_COMM_WORLD, 1);
      memset(in, 0, (size_t)room);
      memset(out, 0, (size_t)room);
    }
    once(&o, rank, ranks, in, out);
    MPI_Barrier(MPI_COMM_WORLD);
    const double start = MPI_Wtime();
    for (long i = 0; i < o.repeats; ++i) once(&o, rank, ranks, in, out);
    double mine = (MPI_Wtime() - start) / (double)o.repeats, slowest = 0;
    MPI_Ireduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD, &request);
    wait_asleep(&request);
    if (rank == 0) {
      printf("%.9g\n", slowest);
      fflush(stdout);
    }
  }
  free(in);
  free(out);
  MPI_Finalize();
  return 0;
}
