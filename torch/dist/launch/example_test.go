package launch_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// A program passes os.Getenv.
func ExampleFind() {
	environment := map[string]string{
		"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "n0", "MASTER_PORT": "29500",
	}
	getenv := func(name string) string { return environment[name] }
	world, err := launch.Find(launch.Flags{}, getenv)
	fmt.Println(world, err)

	delete(environment, "MASTER_PORT")
	_, err = launch.Find(launch.Flags{}, getenv)
	fmt.Println(err)
	// Output:
	// rank 3 of 4 · node 1 of 2 · local rank 1 of 2 · store at n0:29500 · RANK and WORLD_SIZE <nil>
	// RANK and its like lack MASTER_PORT: a launcher such as torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; to train alone, unset RANK and WORLD_SIZE
}

func ExampleUnfold() {
	names, err := launch.Unfold("gpu[08-10],login1")
	fmt.Println(names, err)
	// Output: [gpu08 gpu09 gpu10 login1] <nil>
}
